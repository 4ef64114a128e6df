"""No field of the configuration is forgotten: each is in a table here, or there is a reason."""

import test_classifier_fields
import test_evaluation_fields
import test_setup_fields
import test_vae_fields

from varmixup_jax.config import base_config
from varmixup_jax.report.rows import flatten

ELSEWHERE = {
    "method": "chooses the runs: test_main.py, test_experiment.py",
    "seeds": "chooses the runs: test_main.py",
    "data.source": "test_data_load.py",
    "data.dir": "test_data_load.py, a place",
    "vae.store": "test_vae_fields.py, a place",
    "eval.corruptions": "test_experiment.py",
    "eval.corruptions_md5": "test_experiment.py",
    "eval.frost_dir": "test_corruptions_random.py, a place",
    "eval.baseline": "test_experiment.py, of the page",
    "parallel.deterministic": "flags of XLA that a GPU alone has",
}


def test_every_field_is_changed_somewhere():
    tables = (
        test_classifier_fields.FIELDS + test_classifier_fields.ATTACK_FIELDS
        + test_evaluation_fields.FIELDS
        + test_setup_fields.FIELDS
        + test_vae_fields.FIELDS + test_vae_fields.ADVERSARY
    )  # fmt: skip
    changed = {entry[0].replace("__", ".") for entry in tables}
    fields = {name for name in flatten(base_config().to_dict()) if not name.startswith("methods.")}
    assert fields - changed - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) <= fields
