"""The cache of decoded arrays: hit, miss, damage, and no place to write."""

import os

import numpy as np
import pytest

from varmixup_jax.data import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Decoder:
    """Counts how often it is asked."""

    def __init__(self, value):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return {"x": np.full((3, 2), self.value, np.uint8), "y": np.arange(self.value)}


def test_decodes_once_for_a_key_and_again_for_another(tmp_path):
    first, second = Decoder(1), Decoder(2)
    for _ in range(2):
        got = cache.through_cache("set", tmp_path, "key", first)
        np.testing.assert_array_equal(got["x"], np.full((3, 2), 1))
        assert set(got) == {"x", "y"}
    assert first.calls == 1
    np.testing.assert_array_equal(
        cache.through_cache("set", tmp_path, "other", second)["y"], [0, 1]
    )
    assert second.calls == 1
    assert (
        len(list((tmp_path / "cache/varmixup_jax/decoded").iterdir())) == 1
    )  # replaced, and nothing left over


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_entry_is_decoded_anew(tmp_path, damage):
    cache.through_cache("set", tmp_path, "key", Decoder(200))
    (entry,) = (tmp_path / "cache/varmixup_jax/decoded").iterdir()
    whole = bytearray(entry.read_bytes())
    if damage == "flip":
        at = whole.index(bytes([200] * 6))
        whole[at] ^= 1
    entry.write_bytes({"truncate": whole[:-40], "flip": whole, "empty": b""}[damage])
    again = Decoder(200)
    got = cache.through_cache("set", tmp_path, "key", again)
    assert again.calls == 1
    np.testing.assert_array_equal(got["x"], np.full((3, 2), 200))


def test_without_a_place_to_write_it_decodes_every_time(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    decoder = Decoder(3)
    for _ in range(2):
        np.testing.assert_array_equal(
            cache.through_cache("set", tmp_path, "key", decoder)["y"], [0, 1, 2]
        )
    assert decoder.calls == 2


def test_the_stamp_sees_content_time_and_settings(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    os.utime(file, ns=(0, 10**18))
    base = cache.stamp([file], 32)
    assert base == cache.stamp([file], 32)
    assert base != cache.stamp([file], 64)
    os.utime(file, ns=(0, 10**18 + 1))
    assert base != cache.stamp([file], 32)
    file.write_text("longer")
    os.utime(file, ns=(0, 10**18))
    assert base != cache.stamp([file], 32)
