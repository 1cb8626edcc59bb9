"""Turns a report into one HTML file that needs nothing else: no network, no neighbor files, no server.

All text is escaped by the template engine; figures travel as JSON; a content-security policy in the page forbids every
request. The viewer of the data set is packed and unpacked only when a reader opens it.
"""

import base64
import gzip
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from limbeck import __version__
from limbeck.core.errors import MissingDependencyError
from limbeck.report.blocks import Plot, PlotGrid, Report


@dataclass(frozen=True)
class DatasetAssets:
    """What the data-set view needs.

    Attributes:
        script: JavaScript of the viewer.
        content: Its input, as plain values.
    """

    script: str
    content: dict[str, Any]


def environment() -> Environment:
    """Template engine over the packaged templates; escapes all text in HTML, and refuses names that do not exist."""
    engine = Environment(
        loader=PackageLoader("limbeck.report", "templates"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.globals["version"] = __version__
    return engine


def render_html(report: Report, dataset: DatasetAssets | None = None) -> str:
    """The page.

    Args:
        report: What it shows.
        dataset: Viewer and content of the data set; must be given if the report has a place for them.

    Returns:
        HTML text.

    Raises:
        MissingDependencyError: If plotly is not installed.
    """
    plots = [p for section in report.sections for p in _plots(section.blocks)]
    engine = environment()
    source = engine.loader
    assert source is not None
    return engine.get_template("report.html.j2").render(
        report=report,
        style=source.get_source(engine, "style.css")[0],
        script=source.get_source(engine, "report.js")[0],
        plot_data=script_json({p.id: {"data": p.data, "layout": p.layout} for p in plots}),
        plotly=plotly_script() if plots else "",
        packed_viewer=pack(dataset.script) if dataset else "",
        packed_dataset=pack(json.dumps(dataset.content, separators=(",", ":"))) if dataset else "",
    )


def _plots(blocks: tuple[Any, ...]) -> list[Plot]:
    found: list[Plot] = []
    for block in blocks:
        if isinstance(block, Plot):
            found.append(block)
        elif isinstance(block, PlotGrid):
            found += block.plots
    return found


def script_json(value: Any) -> str:
    """JSON that can stand inside a ``<script>`` element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return (
        text.replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )


def pack(text: str) -> str:
    """Text as base64 of gzip, the same for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode("ascii")


def plotly_script() -> str:
    """JavaScript of Plotly, from the installed package, safe inside a ``<script>`` element.

    Raises:
        MissingDependencyError: If plotly is not installed.
    """
    spec = find_spec("plotly")
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    if script is None or not script.is_file():
        raise MissingDependencyError("reports need plotly, which is not installed: pip install 'plotly>=6'")
    return script.read_text(encoding="utf-8").replace("</script", "<\\/script")
