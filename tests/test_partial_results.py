"""What an interrupted evaluation had finished is not computed again; of another one nothing is used."""

import numpy as np

from varmixup_jax.evaluation.partial_results import FOLDER, Kept


def test_finished_parts_are_used_by_the_same_evaluation_alone(tmp_path):
    calls = []

    def compute():
        calls.append(len(calls))
        return np.full(3, float(len(calls)))

    kept = Kept(tmp_path, {"model": "a", "bins": (1, 2)})
    assert kept("fog 3", compute).tolist() == [1.0] * 3
    assert kept("linearity 8/255", compute).tolist() == [2.0] * 3
    again = Kept(tmp_path, {"bins": (1, 2), "model": "a"})
    assert again("fog 3", compute).tolist() == [1.0] * 3
    assert calls == [0, 1]
    (tmp_path / FOLDER / "fog 3.npy").write_bytes(b"\x93NUMPY half")
    assert again("fog 3", compute).tolist() == [3.0] * 3
    other = Kept(tmp_path, {"model": "b", "bins": (1, 2)})
    assert other("linearity 8/255", compute).tolist() == [4.0] * 3
    other.discard()
    assert list(tmp_path.iterdir()) == []
