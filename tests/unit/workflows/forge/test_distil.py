import pytest

from limbeck.core.errors import TrainingError
from limbeck.workflows.forge.distil import choose


def student(name, error, us, *, stable=True, meets_target=True):
    return {
        "unusable_because": "",
        "name": name,
        "stable": stable,
        "meets_target": meets_target,
        "speed": {"value": us},
        "errors": {"test": {"force_RMSE_eV_per_A": {"value": error}}},
    }


def test_the_fastest_stable_one_within_the_target_is_taken():
    rows = [
        student("accurate", 0.02, 100.0),
        student("fast", 0.03, 10.0),
        student("poor", 0.3, 1.0, meets_target=False),
    ]
    assert choose(rows) == "fast"


def test_an_unstable_one_is_never_taken_for_its_speed():
    assert choose([student("slow", 0.03, 100.0), student("fast", 0.02, 10.0, stable=False)]) == "slow"


def test_without_one_in_the_target_the_most_accurate_stable_one_is_taken():
    rows = [
        student("a", 0.05, 10.0, meets_target=False),
        student("b", 0.04, 90.0, meets_target=False),
        student("c", 0.01, 50.0, stable=False),
    ]
    assert choose(rows) == "b"


def test_if_none_is_stable_the_most_accurate_is_shown():
    assert choose([student("a", 0.05, 1.0, stable=False), student("b", 0.04, 9.0, stable=False)]) == "b"


def failed(name):
    return {
        "name": name, "stable": False, "meets_target": False, "speed": None, "errors": {}, "unusable_because": "NaN",
    }  # fmt: skip


def test_noise_of_a_timing_does_not_choose():
    rows = [student("b", 0.030, 10.0), student("a", 0.025, 10.9), student("slow", 0.01, 12.0)]
    assert choose(rows) == "a"
    assert choose(list(reversed(rows))) == "a"
    rows[0]["speed"], rows[1]["speed"] = rows[1]["speed"], rows[0]["speed"]
    assert choose(rows) == "a"


def test_equal_ones_are_told_apart_by_name():
    assert choose([student("b", 0.03, 10.0), student("a", 0.03, 10.0)]) == "a"
    assert choose([student("b", 0.03, 1.0, stable=False), student("a", 0.03, 9.0, stable=False)]) == "a"


def test_one_that_failed_is_never_taken():
    assert choose([failed("x"), student("poor", 9.0, 10.0, stable=False, meets_target=False)]) == "poor"
    with pytest.raises(TrainingError, match="x: NaN; y: NaN"):
        choose([failed("x"), failed("y")])
