"""The user's cache directory, where there is one: without it nothing is kept, and that is said."""

from types import SimpleNamespace
from unittest import mock

import jax
import pytest

from varmixup_jax import compilation
from varmixup_jax.compilation import user_cache
from varmixup_jax.config import base_config
from varmixup_jax.data import cache
from varmixup_jax.runs import sweep, vae_store


@pytest.fixture(params=["nobody", "a file"])
def nowhere(request, tmp_path, monkeypatch):
    """No home directory, as in a container for a user without an entry; or a cache that is a file."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    if request.param == "nobody":
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(compilation.os.path, "expanduser", lambda path: path)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))


def test_the_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    assert user_cache() == tmp_path / "new" / "varmixup_jax"
    assert not (tmp_path / "new").exists()


def test_without_a_cache_programs_are_compiled_anew_and_that_is_said(nowhere, capsys):
    with mock.patch.object(jax.config, "update") as update:
        compilation.keep_programs()
    update.assert_not_called()
    assert "no cache directory can be written" in capsys.readouterr().err


def test_without_a_cache_images_are_decoded_anew(nowhere, tmp_path):
    for count in range(2):
        assert cache.through_cache("set", tmp_path, "key", lambda n=count: {"n": n}) == {"n": count}


def test_without_a_cache_the_vae_is_kept_with_the_runs(nowhere, tmp_path):
    config, places = base_config(), []
    config.quiet, config.method, config.parallel.devices = True, "varmixup", 1

    def obtain(setup, kind):
        places.append(vae_store.store_root(setup.config.vae.store))
        return SimpleNamespace(info={"key": kind, "psnr": 30.0}, others=())

    with mock.patch.multiple(
        sweep,
        prepare=lambda config: SimpleNamespace(config=config, data=mock.MagicMock()),
        obtain_all=obtain,
        train_and_evaluate=mock.DEFAULT,
        close=mock.DEFAULT,
    ):
        sweep.run(config, tmp_path / "run")
    assert places == [tmp_path / "run" / ".vae"]


def test_a_store_is_a_place_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert vae_store.store_root("~/vaes") == tmp_path / "vaes"
    (tmp_path / "vaes").touch()
    with pytest.raises(ValueError, match=r"config.vae.store = '~/vaes': must be a directory"):
        vae_store.store_root("~/vaes")
