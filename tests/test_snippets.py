"""Every Python snippet of README.md and docs/ runs, each file in one namespace."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varmixup_jax
from tests.test_models_saved import saved
from varmixup_jax import corruptions
from varmixup_jax.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
WITH_CODE = [page for page in PAGES if CODE.search(page.read_text("utf-8"))]


def left_to_the_reader(channels=3, classes=4):
    """What snippets use and do not define: a batch, networks, a data set."""
    image = jax.random.uniform(jax.random.key(1), (4, 8, 8, channels))
    weight = jax.random.normal(jax.random.key(2), (image[0].size, classes))
    uint8 = np.zeros((4, 8, 8, channels), np.uint8)
    return {
        "key": jax.random.key(0),
        "image": image,
        "label": jnp.eye(classes),
        "my_logits": lambda image: image.reshape(len(image), -1) @ weight,
        "my_encoder_mean": lambda image: 2.0 * image,
        "my_decoder": lambda latent: latent / 2.0,
        "images": image,
        "labels": np.arange(4),
        "x_train": uint8,
        "x_test": uint8,
        "y_train": np.arange(4),
        "y_test": np.arange(4),
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has ended."""
    run = tmp_path_factory.mktemp("trained")
    saved(run, with_vae=True)
    return run


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_snippets_of_a_page_run(page, trained, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").symlink_to(trained)
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(corruptions, "NAMES", corruptions.NAMES[-1:])  # the fifteen take a while
    before = dict(METHODS)
    names = left_to_the_reader()
    try:
        # Snippets show several samples by one key, and promote as a user's JAX does.
        with jax.debug_key_reuse(False), jax.numpy_dtype_promotion("standard"):
            for code in CODE.findall(page.read_text("utf-8")):
                exec(compile(code, str(page), "exec"), names)
    finally:
        METHODS.clear()
        METHODS.update(before)


def test_most_pages_have_snippets():
    assert {"README.md", "faq.md"} <= {page.name for page in WITH_CODE}
    assert len(WITH_CODE) > 10


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    shown = re.findall(r"^\.\. auto\w+:: (\w+)$|^`+\{py:data\} varmixup_jax\.(\w+)$", text, re.M)
    names = [function or data for function, data in shown]
    assert sorted(names) == sorted(set(varmixup_jax.__all__) - {"__version__"})


def test_every_page_is_in_a_table_of_contents():
    docs = ROOT / "docs"
    listed = {"index.md"}
    for page in docs.rglob("*.md"):
        for block in re.findall(
            r"^```\{toctree\}\n(.*?)^```", page.read_text("utf-8"), re.S | re.M
        ):
            entries = [line for line in block.split() if not line.startswith(":")]
            listed |= {
                f"{(page.parent / entry).resolve().relative_to(docs)}.md" for entry in entries
            }
    assert {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")} <= listed
