import json

import numpy as np
import pytest

from limbeck.core.errors import MissingFileError, StoreError
from limbeck.report.reading import read_points, read_results, write_results
from limbeck.report.schema import Evaluation, ForgeResults


def test_a_full_record_survives_writing_and_reading(run_folder):
    results = read_results(run_folder / "results.json")
    again = ForgeResults.model_validate_json(results.model_dump_json())
    assert again == results
    assert len(results.evaluations) == 8
    assert results.students[0].speedup_over_teacher.value == pytest.approx(12600 / 98.4)


def test_numpy_values_and_nan_are_taken(tmp_path):
    record = {"name": "a", "learning_curve": [{"selection": "random", "labels": np.int64(5),
              "force_rmse_eV_per_A": np.nan}],
              "students": [{"name": "s", "kind": "pod", "microseconds_per_atom_step": np.float64(12.5)}]}  # fmt: skip
    written = write_results(tmp_path, record)
    assert read_results(tmp_path / "results.json") == written
    assert written.learning_curve[0].force_rmse_eV_per_A is None
    assert written.students[0].microseconds_per_atom_step.value == 12.5


@pytest.mark.parametrize(
    ("change", "place"),
    [({"nmae": "x"}, "nmae"), ({"labels": {"engine": "gpaw", "count": -1}}, "labels.count"),
     ({"labels": {"engine": "gpaw", "count": "12"}}, "labels.count"),
     ({"evaluations": [{"potential": "p", "role": "teacher", "set": "test"}]}, "evaluations.0.role"),
     ({"cost": [{"stage": "a", "wall_seconds": 1.0}]}, "cost.0.wall_seconds")],
)  # fmt: skip
def test_a_wrong_record_is_one_error_that_names_the_place_and_writes_nothing(tmp_path, change, place):
    with pytest.raises(StoreError, match=place):
        write_results(tmp_path, {"name": "a"} | change)
    assert not (tmp_path / "results.json").exists()
    (tmp_path / "results.json").write_text(json.dumps({"name": "a"} | change))
    with pytest.raises(StoreError, match=place):
        read_results(tmp_path / "results.json")


def test_transposed_phonons_are_refused_with_the_remedy(tmp_path):
    bands = np.zeros((20, 6)).tolist()
    curve = {"potential": "p", "distance": list(range(20)), "frequencies_THz": bands}
    with pytest.raises(StoreError, match="transpose"):
        write_results(tmp_path, {"name": "a", "curves": {"phonons": [curve]}})


def test_curves_of_unequal_length_are_refused(tmp_path):
    curve = {"potential": "p", "volume_A3_per_atom": [1.0, 2.0], "energy_eV_per_atom": [1.0]}
    with pytest.raises(StoreError, match="2 values but energy_eV_per_atom has 1"):
        write_results(tmp_path, {"name": "a", "curves": {"equation_of_state": [curve]}})


def test_no_results_and_no_json(tmp_path):
    with pytest.raises(MissingFileError, match="no results yet"):
        read_results(tmp_path / "results.json")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(StoreError, match="does not fit"):
        read_results(tmp_path / "results.json")


def evaluation(points):
    return Evaluation.model_validate_json(
        json.dumps({"potential": "p", "role": "student", "set": "test", "points": points})
    )


INLINE = {
    "force_reference": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
    "force_predicted": [[1.5, 2.0, None], [4.0, 5.0, 6.0]],
    "element": ["Li", "F"],
}


def test_points_inline_and_from_a_file_are_the_same(tmp_path):
    arrays = {k: np.array(v, dtype=str if k == "element" else float) for k, v in INLINE.items()}
    np.savez(tmp_path / "p.npz", **arrays)
    inline, stored = read_points(tmp_path, evaluation(INLINE)), read_points(tmp_path, evaluation("p.npz"))
    assert set(inline) == {"force_reference", "force_predicted", "element"}
    for name in inline:
        np.testing.assert_array_equal(inline[name], stored[name])
    assert inline["element"].tolist() == ["Li"] * 3 + ["F"] * 3
    assert np.isnan(inline["force_predicted"][2])
    assert read_points(tmp_path, evaluation(None)) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [({"force_predicted": [[1.0, 2.0, 3.0]]}, "6 reference but 3 predicted"), ({"element": ["Li"] * 4}, "4 symbols"),
     ({"force_predicted": [[1.0, 2.0, 3.0], [1.0]]}, "ragged")],
)  # fmt: skip
def test_points_that_do_not_pair_up_are_refused(tmp_path, change, message):
    with pytest.raises(StoreError, match=message):
        read_points(tmp_path, evaluation(INLINE | change))


def test_points_whose_file_is_gone(tmp_path):
    with pytest.raises(MissingFileError, match=r"gone\.npz"):
        read_points(tmp_path, evaluation("gone.npz"))
