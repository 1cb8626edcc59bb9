import matplotlib.image
import pytest

from limbeck.report.print_figures import write_print_figures
from limbeck.report.reading import read_results
from limbeck.report.sections import tested_on_one_set as chosen_evaluations
from limbeck.report.style import Styles


def test_parity_front_and_phonons_as_vector_and_image(run_folder):
    found = sorted(p.name for p in (run_folder / "figures").iterdir())
    assert found == sorted(f"{n}.{e}" for n in ("parity", "front", "phonons") for e in ("pdf", "png"))
    for name in ("parity", "front", "phonons"):
        assert (run_folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        image = matplotlib.image.imread(run_folder / "figures" / f"{name}.png")
        assert image.shape[1] >= 1000
        assert image[..., :3].std() > 0.05


def test_fonts_are_embedded_as_outlines_that_publishers_take(run_folder):
    pdf = (run_folder / "figures" / "front.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf


@pytest.mark.parametrize(("missing", "left"), [("students", {"parity", "phonons"}), ("curves", {"parity", "front"})])
def test_only_what_there_is_data_for_is_drawn(run_folder, tmp_path, missing, left):
    results = read_results(run_folder / "results.json")
    fewer = results.model_copy(update={missing: type(results)(name="a").model_dump()[missing]})
    fewer = type(results).model_validate_json(fewer.model_dump_json(warnings=False))
    written = write_print_figures(tmp_path, fewer, chosen_evaluations(fewer, run_folder), Styles(fewer))
    assert {p.stem for p in written} == left
