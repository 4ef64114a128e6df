"""What editors and type checkers see of the package is what Python imports."""

import re
from pathlib import Path

import pytest

import varmixup_jax

ROOT = Path(__file__).resolve().parents[1]

# A user's file. What mypy must say of a line stands behind it; of the others, nothing.
USER = """
import jax
import varmixup_jax as vj
from varmixup_jax import linf, mixup  # attr-defined

key = jax.random.key(0)
mix: vj.Vicinity = vj.mix(vj.latents, alpha=1.0, partners=2)
vj.mix(alhpa=1.0)  # call-arg
vj.mixx(vj.pixels)  # attr-defined
vj.mix(alpha="large")  # arg-type
vj.mix("pixels")  # arg-type
attack = vj.attack(vj.ce, ball=linf(8 / 255), steps=7, step_size=2 / 255)
vj.attack(vj.cross_entropy, ball=linf(0.1), steps=7, step_size=0.1)  # arg-type
vj.chain(attack, mix)
vj.chain(vj.pixels)  # arg-type


def logits(image: jax.Array) -> jax.Array:
    return image.reshape(len(image), -1)


images = jax.numpy.ones((2, 8, 8, 3))
draw = vj.Draw(images, jax.numpy.eye(2))
draw.lable  # attr-defined
mix(key, vj.Env(logits), draw).image
mix(key, vj.Env(logits))  # call-arg
vj.corrupt(key, 3, images, severity=3)  # arg-type
vj.load_model("runs/a").decoder  # attr-defined


@vj.register("noisy", summary="noise")
def noisy(*, sigma: float = 0.1) -> tuple[vj.Term, ...]:
    return (vj.Term(1.0, mix, vj.ce),)


noisy(sigma="large")  # arg-type
"""

# The package's own annotations are what is looked at; its libraries' take mypy a minute.
CONFIG = """
[mypy]
[mypy-jax.*,jaxlib.*,flax.*,numpy,numpy.*,optax.*,scipy.*,rich.*,PIL.*,attr.*]
follow_imports = skip
"""


def planted(text):
    """(line, error code) of each comment."""
    lines = enumerate(text.splitlines(), start=1)
    found = ((number, re.search(r"  # ([a-z-]+)$", line)) for number, line in lines)
    return [(number, match[1]) for number, match in found if match]


def test_mypy_finds_exactly_the_mistakes_of_a_user(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text(CONFIG)
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    out, err, _ = api.run(["--config-file=mypy.ini", "--show-error-codes", "user.py"])
    errors = re.findall(r"^(.+):(\d+): error: .*\[([a-z-]+)\]$", out, re.M)
    assert [(int(line), code) for _, line, code in errors] == planted(USER), out + err
    assert {file for file, *_ in errors} == {"user.py"}, out


def test_python_finds_every_name_that_type_checkers_see():
    stub = Path(varmixup_jax.__file__).with_suffix(".pyi").read_text("utf-8")
    seen = set(re.findall(r"\bas (\w+)", stub))
    assert seen == set(varmixup_jax.__all__) <= set(dir(varmixup_jax))
    for name in seen:
        assert getattr(varmixup_jax, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'mixx'"):
        varmixup_jax.mixx  # noqa: B018
    assert (ROOT / "varmixup_jax" / "py.typed").is_file()
