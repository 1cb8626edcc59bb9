import pytest

from limbeck.report import tables
from limbeck.report.reading import read_results
from limbeck.report.schema import ForgeResults
from limbeck.report.sections import tested_on_one_set as chosen_evaluations


@pytest.fixture(scope="module")
def results(run_folder):
    return read_results(run_folder / "results.json")


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_every_table_is_as_wide_as_its_heading(results, run_folder):
    tested = chosen_evaluations(results, run_folder)
    found = [
        tables.errors(results.evaluations), tables.errors_by_trajectory(results.evaluations),
        tables.gate(results.iterations),
        tables.loop(results.iterations), tables.students(results.students), tables.student_reasons(results.students),
        tables.properties(results), tables.cost(results), tables.averages(results), tables.quarantined(results),
        tables.lineage(results), tables.versions(results),
    ]  # fmt: skip
    assert tables.errors_by_element(tested) is None
    for table in found:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_errors_stand_in_a_fixed_order_under_their_potential(results):
    table = tables.errors(results.evaluations)
    assert table.columns[2:] == (
        "universal teacher (zero-shot)",
        "fine-tuned teacher",
        "student pod-large",
        "student uf3",
    )
    assert [row[:2] for row in texts(table)][:4] == [
        ["test", "Energy, RMSE (meV/atom)"], ["", "Force components, RMSE (eV/Å)"],
        ["", "Stress components, RMSE (GPa)"], ["", "Force, worst 1 % of atoms (eV/Å)"],
    ]  # fmt: skip
    force = table.rows[1]
    assert [(c.text, c.error) for c in force[2:4]] == [("0.1210", "0.0060"), ("0.0430", "0.0022")]


def test_an_error_of_one_element_is_shown_only_beside_another():
    one = ["force_RMSE_Si_eV_per_A", "force_rmse", "my_own_error"]
    assert tables.errors_shown(one) == ["force_rmse", "my_own_error"]
    assert tables.errors_shown([*one, "force_RMSE_O_eV_per_A"])[1:] == [
        "force_RMSE_Si_eV_per_A", "my_own_error", "force_RMSE_O_eV_per_A",
    ]  # fmt: skip
    assert tables.metric_name("force_RMSE_Si_eV_per_A") == "force-rmse-Si"
    assert tables.words("potential_energy_eV_per_atom") == "potential energy"
    assert tables.words("unstable fresh trajectories") == "unstable fresh trajectories"


def test_force_errors_by_element_come_from_the_points(synthetic, tmp_path):
    points = {"force_reference": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
              "force_predicted": [[0.1, 0.1, 0.1], [0.3, 0.3, 0.3]],
              "element": ["Mg", "O"]}  # fmt: skip
    evaluation = {"potential": "t", "role": "fine_tuned", "set": "test", "points": points}
    results = read_results(synthetic.make(tmp_path, evaluations=[evaluation]) / "results.json")
    table = tables.errors_by_element(chosen_evaluations(results, tmp_path))
    assert table.columns[2:] == ("Mg (eV/Å)", "O (eV/Å)")
    assert texts(table) == [["t (fine-tuned)", "test", "0.1", "0.3"]]


def test_a_failed_check_is_marked_by_word_and_tone(results):
    rows = tables.gate(results.iterations).rows
    failed = [row for row in rows if row[-1].text == "failed"]
    assert [(row[0].text, row[1].text, row[-1].tone) for row in failed] == [("0", "force", "bad")]


def test_reference_columns_only_where_a_reference_is_known(synthetic, tmp_path, results):
    assert "Reference" in tables.properties(results).columns
    bare = [{"name": "C11", "unit": "GPa", "student": {"value": 150.0, "standard_error": 2.0}}]
    table = tables.properties(read_results(synthetic.make(tmp_path, properties=bare) / "results.json"))
    assert table.columns == ("Property", "Zero-shot", "Fine-tuned", "Student", "Unit")
    assert texts(table) == [["C11", "–", "–", "150.0", "GPa"]]


def test_cost_adds_up(results):
    assert texts(tables.cost(results))[-1] == ["all stages", "11 min 29 s", "21 min 30 s"]


def test_nothing_recorded_gives_no_table():
    empty = ForgeResults(name="a")
    for table in (tables.properties, tables.cost, tables.averages, tables.quarantined, tables.lineage, tables.versions):
        assert table(empty) is None
    for table in (tables.errors, tables.errors_by_trajectory, tables.gate, tables.loop, tables.students):
        assert table(()) is None
