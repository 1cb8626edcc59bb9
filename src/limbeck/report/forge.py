"""The report of a forge run: reads ``results.json``, writes the page, the metrics, the README and figures for print."""

from pathlib import Path
from typing import Any

from ase import Atoms

from limbeck.core.record import write_json, write_text
from limbeck.report import dataset, sections
from limbeck.report.blocks import Report
from limbeck.report.document import DatasetAssets, render_html
from limbeck.report.figures import Tested
from limbeck.report.print_figures import write_print_figures
from limbeck.report.reading import RESULTS_FILE, read_results
from limbeck.report.readme import readme, write_example
from limbeck.report.schema import ForgeResults
from limbeck.report.style import Styles
from limbeck.report.verdict import cards, metrics, verdict, warnings

REPORT_FILE, METRICS_FILE, README_FILE = "report.html", "metrics.json", "README.md"


def build_report(run_folder: Path) -> Path:
    """Write the report of a run from its saved records; a run that is not finished gets one, too.

    Beside ``report.html`` (one file that needs no network and no other file) this writes ``metrics.json`` (rows of
    ``id, value, standard_error, unit, command, note``), ``README.md`` (how to use the potential) with the
    LAMMPS input and structure that it speaks of, and ``figures/`` (PDF and PNG for print).

    Args:
        run_folder: Folder with ``results.json``.

    Returns:
        Path of the page.

    Raises:
        MissingFileError: If there are no results, or a file that they name is gone.
        StoreError: If the results do not fit their records.
        MissingDependencyError: If plotly, chemiscope or matplotlib is not installed.
    """
    folder = Path(run_folder)
    results = read_results(folder / RESULTS_FILE)
    tested = sections.tested_on_one_set(results, folder)
    frames = dataset.read_frames(folder / results.dataset) if results.dataset else []
    shown = dataset.thin_frames(frames)
    assets = DatasetAssets(dataset.viewer_script(), _viewer_input(results, shown)) if shown else None
    write_json(folder / METRICS_FILE, metrics(results))
    write_text(folder / README_FILE, readme(results))
    if results.potential is not None:
        write_example(folder, results.potential)
    write_print_figures(folder, results, tested, Styles(results))
    page = render_html(assemble(results, tested, folder, len(frames), len(shown)), assets)
    write_text(folder / REPORT_FILE, page)
    return folder / REPORT_FILE


def _viewer_input(results: ForgeResults, frames: list[Atoms]) -> dict[str, Any]:
    engine = f"{results.labels.engine} labels" if results.labels else "labels"
    return dataset.viewer_input(frames, results.title or results.name, f"{engine} of the forge run {results.name}")


def assemble(results: ForgeResults, tested: list[Tested], run_folder: Path, n_frames: int, n_shown: int) -> Report:
    """The report as plain values: verdict, key numbers, sections.

    Args:
        results: The records.
        tested: Evaluations of one set with points.
        run_folder: Folder of the run, shown in the head.
        n_frames: Labelled frames in all.
        n_shown: Frames in the data-set view.

    Returns:
        What :func:`limbeck.report.document.render_html` shows.
    """
    styles = Styles(results)
    sentence, tone, word = verdict(results)
    elements = ", ".join(results.potential.elements) if results.potential else ""
    subtitle = " · ".join(
        part
        for part in (
            elements,
            f"{results.labels.engine} labels" if results.labels else "",
            f"started {results.started[:16].replace('T', ' ')}" if results.started else "",
            f"finished {results.finished[:16].replace('T', ' ')}" if results.finished else "",
        )
        if part
    )
    facts = [("Command", results.command), ("Run folder", Path(run_folder).resolve().name)]
    if results.seed is not None:
        facts.append(("Seed", str(results.seed)))
    return Report(
        title=results.title or results.name,
        subtitle=subtitle,
        verdict=sentence,
        verdict_tone=tone,
        verdict_word=word,
        warnings=warnings(results),
        cards=cards(results),
        sections=(
            sections.accuracy(results, tested, styles),
            sections.loop(results),
            sections.distillation(results),
            sections.properties(results, styles),
            sections.production(results),
            sections.usage(results),
            sections.dataset(results, n_frames, n_shown),
            sections.cost(results),
            sections.provenance(results),
        ),
        facts=tuple((label, text) for label, text in facts if text),
    )
