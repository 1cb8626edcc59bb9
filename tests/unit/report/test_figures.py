import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.report import curves, figures, learning
from limbeck.report.blocks import Plot, PlotGrid
from limbeck.report.forge import assemble
from limbeck.report.reading import read_results
from limbeck.report.schema import ForgeResults, Quantity
from limbeck.report.sections import tested_on_one_set as chosen_evaluations
from limbeck.report.style import STUDENT, Styles, compact, plain, thin


@pytest.fixture(scope="module")
def results(run_folder):
    return read_results(run_folder / "results.json")


@pytest.fixture(scope="module")
def tested(results, run_folder):
    return chosen_evaluations(results, run_folder)


@pytest.fixture(scope="module")
def plots(results, tested, run_folder):
    report = assemble(results, tested, run_folder, 52, 52)
    found = []
    for section in report.sections:
        for block in section.blocks:
            found += [block] if isinstance(block, Plot) else list(block.plots) if isinstance(block, PlotGrid) else []
    return found


def test_every_figure_of_the_brief_is_there(plots):
    expected = {"front", "learning-curve", "training-history", "selection-gains", "filter-reasons", "phonons", "thermo",
                "equation-of-state", "energy-conservation", "cost", "force-error-distribution",
                "trajectory-errors"}  # fmt: skip
    expected |= {f"parity-{q}-{n}" for q in ("energy", "force", "stress") for n in range(3)}
    expected |= {f"radial-distribution-{n}" for n in range(3)}
    assert {p.id for p in plots} == expected
    assert len(plots) == len(expected)


def test_every_figure_says_what_to_see_and_names_its_axes(plots):
    for plot in plots:
        assert plot.caption.endswith(".") or plot.id.startswith(("parity-", "radial-")), plot.id
        for name, axis in plot.layout.items():
            if name.startswith(("xaxis", "yaxis")) and axis.get("type") != "category":
                assert axis["title"]["text"], (plot.id, name)


def test_colors_are_names_of_the_theme_only(plots):
    def colors(value, key=""):
        if isinstance(value, dict):
            for k, v in value.items():
                yield from colors(v, k)
        elif isinstance(value, list | tuple):
            for v in value:
                yield from colors(v)
        elif isinstance(value, str) and ("color" in key or key == "colorscale"):
            yield value

    for plot in plots:
        for color in colors([*plot.data, plot.layout]):
            assert color.startswith(("var(--", "ramp(var(--")), (plot.id, color)


def test_parity_panels_share_equal_axes_and_hold_every_point(results, tested):
    grid = figures.parity("force", tested, Styles(results))
    ranges = [p.layout[a]["range"] for p in grid.plots for a in ("xaxis", "yaxis")]
    assert all(r == ranges[0] for r in ranges)
    low, high = ranges[0]
    for panel, (_, points) in zip(grid.plots, tested, strict=True):
        shown = panel.data[1]
        assert len(shown["x"]) == points["force_reference"].size
        assert low < min(shown["x"] + shown["y"]) < max(shown["x"] + shown["y"]) < high


def test_a_far_offset_of_the_energy_is_taken_off_and_said(results, tested):
    zero_shot, fine_tuned = figures.parity("energy", tested, Styles(results)).plots[:2]
    assert "offset of 2.7" in zero_shot.layout["annotations"][0]["text"]
    assert "offset" not in fine_tuned.layout["annotations"][0]["text"]
    assert max(map(abs, zero_shot.data[1]["y"])) < 100.0  # meV/atom


def test_error_distribution_is_a_survival_function(results, tested):
    plot = figures.error_distribution(tested, Styles(results))
    for trace, (_, points) in zip(plot.data, tested, strict=True):
        share, x = np.array(trace["y"]), np.array(trace["x"])
        assert np.all(np.diff(x) >= 0)
        assert np.all(np.diff(share) <= 0)
        assert share[0] == 100.0
        errors = np.abs(points["force_predicted"] - points["force_reference"])
        middle = len(x) // 2
        assert share[middle] == pytest.approx(100 * np.mean(errors >= x[middle] * (1 - 1e-3)), abs=0.5)


def test_the_chosen_student_has_the_students_look(results):
    styles = Styles(results)
    assert styles.of("student pod-large").color == STUDENT.color == styles.of("student").color
    assert styles.of("student uf3").color != STUDENT.color
    assert styles.of("student uf3") == styles.of("student uf3")


def test_front_places_the_teacher_by_the_speed_up(results):
    plot = figures.front(results, results.evaluations[2].errors["force_rmse"])
    teacher = next(t for t in plot.data if t["name"] == "fine-tuned teacher")
    assert teacher["x"][0] == pytest.approx(12600)
    assert plot.layout["xaxis"]["type"] == "log"
    low, high = plot.layout["xaxis"]["range"]
    assert all(low < np.log10(t["x"][0]) < high for t in plot.data)
    assert figures.front(ForgeResults(name="a"), None) is None


def test_learning_curve_has_mean_and_standard_error_over_seeds(results):
    plot = learning.learning_curve(results.learning_curve, results)
    entropy = plot.data[0]
    values = [p.force_rmse_eV_per_A for p in results.learning_curve if p.selection == "entropy" and p.labels == 20]
    at = entropy["x"].index(20)
    assert entropy["y"][at] == pytest.approx(np.mean(values), rel=1e-5)
    assert entropy["error_y"]["array"][at] == pytest.approx(np.std(values, ddof=1) / np.sqrt(3), rel=1e-5)


def test_the_training_curve_says_which_points_are_gauss_newton_steps(results):
    epochs = [{"epoch": float(k), "train_force_RMSE_eV_per_A": 1.0 / k} for k in (1, 2)]
    step = {"epoch": 3.0, "damping": 1e-5, "train_force_RMSE_eV_per_A": 0.2}
    first = results.iterations[0]

    def caption(rows):
        plot = learning.training_history([first.model_copy(update={"history": tuple(rows)})])
        assert plot.data[0]["y"][: len(rows)] == pytest.approx([row["train_force_RMSE_eV_per_A"] for row in rows])
        return plot.caption

    assert "Gauss" not in caption(epochs)
    assert "last point is a Gauss-Newton step" in caption([*epochs, step])
    assert "last points are Gauss-Newton steps" in caption([*epochs, step, step | {"epoch": 4.0}])


def test_a_learning_curve_needs_two_points(synthetic, tmp_path):
    one = read_results(synthetic.make(tmp_path, learning_curve=[]) / "results.json")
    assert learning.learning_curve((), one) is not None
    first = one.model_copy(update={"iterations": one.iterations[:1]})
    assert learning.learning_curve((), first) is None
    assert learning.learning_curve((), first, Quantity(value=0.121)) is not None


def test_one_iteration_and_the_zero_shot_error_make_a_learning_curve_from_no_label_on(synthetic, tmp_path):
    changes = synthetic.compound()
    results = read_results(synthetic.make(tmp_path, **changes) / "results.json")
    report = assemble(results, chosen_evaluations(results, tmp_path), tmp_path, 52, 52)
    section = next(s for s in report.sections if s.id == "fine-tuning")
    plot = next(b for b in section.blocks if isinstance(b, Plot) and b.id == "learning-curve")
    (own,) = plot.data
    iteration = results.iterations[0]
    assert own["x"] == [0, iteration.n_train + iteration.n_validation]
    assert own["y"] == [0.121, 0.043]
    assert own["error_y"]["array"] == [pytest.approx(0.121 * 0.05), 0.002]
    assert "type" not in plot.layout["xaxis"]
    texts = [note["text"] for note in plot.layout["annotations"]]
    assert texts == ["zero-shot", "iteration 1", "gate 0.05 eV/Å"]
    history = next(b for b in section.blocks if isinstance(b, Plot) and b.id == "training-history")
    assert len(history.data[0]["x"]) > 50


def test_the_zero_shot_error_is_a_line_on_logarithmic_axes(results):
    plot = learning.learning_curve(results.learning_curve, results, Quantity(value=0.121))
    assert plot.layout["xaxis"]["type"] == "log"
    assert any(shape.get("y0") == 0.121 for shape in plot.layout["shapes"])
    assert all(x > 0 for trace in plot.data for x in trace["x"])


def test_compounds_have_a_panel_for_every_pair_and_temperature(synthetic, tmp_path):
    results = read_results(synthetic.make(tmp_path, **synthetic.compound()) / "results.json")
    grid = curves.radial_distribution(results.curves.rdf, Styles(results))
    assert [p.title for p in grid.plots][::3] == ["Mg–Mg · 300 K", "Mg–O · 300 K", "O–O · 300 K"]
    assert len(grid.plots) == 9
    names = [trace["name"] for trace in grid.plots[0].data]
    assert names == ["fine-tuned teacher, 16 atoms", "student, 16 atoms", "student, 216 atoms"]
    assert [trace["line"]["dash"] for trace in grid.plots[0].data].count("dot") == 1
    assert "half the smallest width" in grid.caption
    assert "up to 2.7 Å" in grid.caption


def test_polar_phonons_say_what_is_missing_once(synthetic, tmp_path):
    results = read_results(synthetic.make(tmp_path, **synthetic.compound()) / "results.json")
    caption = curves.phonons(results.curves.phonons, Styles(results)).caption
    assert caption.count("no splitting of longitudinal and transverse") == 1


def test_nothing_recorded_gives_no_figure():
    empty = ForgeResults(name="a")
    assert learning.learning_curve((), empty) is None
    assert learning.training_history(()) is learning.selection_gains(()) is learning.filter_reasons(()) is None
    assert figures.cost(()) is figures.parity("force", [], Styles(empty)) is None
    assert figures.error_distribution([], Styles(empty)) is figures.trajectory_errors([], Styles(empty)) is None


def test_foreign_text_in_labels_is_shown_as_it_is():
    assert plain("<a href='x'>&</a>") == "&lt;a href='x'&gt;&amp;&lt;/a&gt;"
    assert compact([1.23456789, np.nan, None, np.inf], 3) == [1.23, None, None, None]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.integers(20, 400), st.integers(0, 2**32 - 1))
def test_thinning_keeps_every_lonely_point_and_respects_its_limit(n, limit, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = x + 0.1 * rng.standard_t(2, size=n)
    if n:
        y[0] = np.nan
    kept, density = thin(x, y, limit, cells=20)
    assert np.all(np.diff(kept) > 0)
    assert 0 not in kept
    if n <= 1:
        return
    everything, all_density = thin(x, y, n, cells=20)
    np.testing.assert_array_equal(everything, np.arange(1, n))
    assert set(everything[all_density == 1]) <= set(kept)
    occupied = np.sum(1.0 / all_density)
    assert len(kept) <= max(limit, round(occupied))
    np.testing.assert_array_equal(density, all_density[np.isin(everything, kept)])
