"""Bad input: every refusal is one line that names the thing, and leaves every file as it was."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "bad_input",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("bad_input")


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory, monkeypatch):
    """A cache of its own; no prepared data sets from outside."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
