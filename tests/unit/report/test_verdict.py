import numpy as np
import pytest

from limbeck.report.reading import read_results, write_results
from limbeck.report.verdict import cards, evaluation_of, metrics, verdict, warnings


@pytest.fixture(scope="module")
def results(run_folder):
    return read_results(run_folder / "results.json")


def changed(synthetic, tmp_path, **changes):
    return read_results(synthetic.make(tmp_path, **changes) / "results.json")


def test_a_good_run_is_called_good_with_its_numbers(results):
    text, tone, word = verdict(results)
    assert (tone, word) == ("good", "gate passed")
    assert "passed all 4 checks" in text
    assert "0.0430 ± 0.0022 eV/Å" in text
    assert "98.4 ± 2.0 µs" in text
    assert "meets its target" in text


def test_a_failed_gate_names_what_failed_with_its_limit(synthetic, tmp_path):
    iterations = synthetic._iterations(np.random.default_rng(0))[:1]
    text, tone, word = verdict(changed(synthetic, tmp_path, iterations=iterations))
    assert (tone, word) == ("bad", "gate failed")
    assert "1 of 4 checks" in text
    assert "force 0.0580 ± 0.0020 eV/Å (limit 0.05)" in text
    assert "energy" not in text


def test_the_last_gate_counts_not_an_earlier_one(results):
    assert not results.iterations[0].gate.passed
    assert verdict(results)[1] == "good"


def test_a_student_that_misses_its_target_is_not_called_good(synthetic, tmp_path):
    students = synthetic._students(None)
    students[0] |= {"meets_target": False, "error_ratio": {"value": 1.44, "standard_error": 0.21, "unit": "1"}}
    text, tone, word = verdict(changed(synthetic, tmp_path, students=students))
    assert (tone, word) == ("bad", "target missed")
    assert "pod-large" in text
    assert "1.44 ± 0.21 times its teacher's" in text


def test_a_check_without_a_value_is_not_counted_as_passed(synthetic, tmp_path):
    iterations = synthetic._iterations(np.random.default_rng(0))
    checks = iterations[-1]["gate"]["checks"]
    checks.append({"name": "stress, not judged", "value": None, "limit": 0.5, "unit": "GPa", "passed": True})
    text, tone, _ = verdict(changed(synthetic, tmp_path, iterations=iterations))
    assert tone == "good"
    assert "passed all 4 checks of its gate, 1 could not be judged" in text


def test_an_unfinished_run_has_no_verdict(tmp_path):
    results = write_results(tmp_path, {"name": "a"})
    assert verdict(results)[1:] == ("quiet", "not finished")
    assert any("not finished" in w for w in warnings(results))
    assert cards(results) == ()
    assert metrics(results) == []


def test_a_gate_without_student_is_not_called_good(synthetic, tmp_path):
    text, tone, _ = verdict(changed(synthetic, tmp_path, students=[], finished=""))
    assert tone == "quiet"
    assert "no student" in text


def test_smoke_labels_come_first_and_mark_every_metric(synthetic, tmp_path):
    results = changed(synthetic, tmp_path, labels={"engine": "emt", "production": False, "count": 10})
    assert "not for production" in warnings(results)[0]
    assert "emt" in warnings(results)[0]
    assert all("not for production" in row["note"] for row in metrics(results))


def test_metrics_have_the_agreed_form_and_the_right_numbers(results):
    rows = {row["id"]: row for row in metrics(results)}
    assert len(rows) == len(metrics(results))
    assert all(set(row) == {"id", "value", "standard_error", "unit", "command", "note"} for row in rows.values())
    assert all(row["command"] == results.command for row in rows.values())
    assert rows["forge-synthetic-labels"]["value"] == 52
    assert rows["forge-synthetic-force-rmse"] | {"note": ""} == {
        "id": "forge-synthetic-force-rmse", "value": 0.043, "standard_error": pytest.approx(0.00215), "unit": "eV/Å",
        "command": results.command, "note": "",
    }  # fmt: skip
    ratio = rows["forge-synthetic-student-error-ratio"]
    assert ratio["value"] == pytest.approx(0.046 / 0.043)
    assert ratio["standard_error"] == 0.02
    assert "paired jackknife over trajectories" in ratio["note"]
    assert "chosen among 3 students on these same test labels" in ratio["note"]
    assert rows["forge-synthetic-student-speedup"]["value"] == pytest.approx(12600 / 98.4)
    assert rows["forge-synthetic-student-nve-drift"]["value"] == 0.031
    assert rows["forge-synthetic-main-job-minutes"]["value"] == pytest.approx(689.2 / 60)
    assert rows["forge-synthetic-zero-shot-force-rmse-fresh"]["value"] == 0.121


def test_metric_prefix_can_be_given(synthetic, tmp_path):
    rows = metrics(changed(synthetic, tmp_path, metric_prefix="forge-si"))
    assert {"forge-si-force-rmse", "forge-si-labels"} <= {row["id"] for row in rows}


def test_no_minutes_for_an_unfinished_run(synthetic, tmp_path):
    assert not any("minutes" in row["id"] for row in metrics(changed(synthetic, tmp_path, finished="")))


def test_of_several_students_the_chosen_one_is_meant(results):
    assert evaluation_of(results, "student").potential == "student pod-large"


def test_every_card_with_a_recorded_error_shows_it(results):
    shown = {card.label: card for card in cards(results)}
    for label in ("Force RMSE", "Energy RMSE", "Stress RMSE", "Student force RMSE", "Student speed", "Energy drift"):
        assert shown[label].error, label
    assert shown["Labels in all"].value == "52"


def test_without_a_paired_error_the_ratio_has_none(synthetic, tmp_path):
    """Both errors are on the same atoms: taken as independent they would give a wrong bar."""
    students = [s | {"error_ratio": None} for s in synthetic._students(None)]
    rows = {row["id"]: row for row in metrics(changed(synthetic, tmp_path, students=students))}
    ratio = rows["forge-synthetic-student-error-ratio"]
    assert ratio["value"] == pytest.approx(0.046 / 0.043)
    assert ratio["standard_error"] is None
    assert "same atoms" in ratio["note"]


def test_beside_the_students_error_stands_that_it_was_chosen_by_it(synthetic, tmp_path, results):
    card = next(card for card in cards(results) if card.label == "Student force RMSE")
    assert "1.070 ± 0.020 times its teacher's" in card.note
    assert "chosen among 3 students on these same test labels" in card.note
    for changes in (
        {"front_target": {"judged_on": "validation"}},
        {"front_target": None},
        {"students": synthetic._students(None)[:1]},
    ):
        other = changed(synthetic, tmp_path, **changes)
        assert "chosen among" not in next(c for c in cards(other) if c.label == "Student force RMSE").note
