from limbeck.workflows.forge.distil import choose


def student(name, error, us, *, stable=True, meets_target=True):
    return {
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
