"""How potentials are told apart in every figure (color, dash, marker), and how points are made few and small.

Colors are those of M. Okabe and K. Ito, color-blind safe, and are never the only mark. In the page they are names of
CSS variables, so that one figure serves light, dark and print.
"""

import textwrap
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from limbeck.report.schema import ForgeResults, Role, StudentResult

INK, QUIET, GRID, SURFACE = "var(--ink)", "var(--quiet)", "var(--grid)", "var(--surface)"
GOOD, BAD = "var(--good)", "var(--bad)"


@dataclass(frozen=True)
class Style:
    """Look of one potential.

    Attributes:
        label: Name in legends.
        color: CSS variable for the page.
        print_color: Hexadecimal color on paper.
        dash: Line dash (Plotly's names).
        symbol: Marker (Plotly's names).
    """

    label: str
    color: str
    print_color: str
    dash: str
    symbol: str


REFERENCE = Style("labels", INK, "#1b1f24", "solid", "square-open")
ZERO_SHOT = Style("zero-shot teacher", "var(--zero-shot)", "#d55e00", "dot", "circle-open")
FINE_TUNED = Style("fine-tuned teacher", "var(--fine-tuned)", "#0072b2", "solid", "circle")
STUDENT = Style("student", "var(--student)", "#009e73", "dash", "diamond")
OTHERS = (
    Style("", "var(--extra-1)", "#aa4499", "dashdot", "triangle-up"),
    Style("", "var(--extra-2)", "#b8860b", "longdash", "x"),
    Style("", "var(--extra-3)", "#56b4e9", "longdashdot", "star"),
)
BY_ROLE: dict[Role, Style] = {"zero_shot": ZERO_SHOT, "fine_tuned": FINE_TUNED, "student": STUDENT}
ROLE_WORDS = {"zero_shot": "zero-shot", "fine_tuned": "fine-tuned", "student": "student"}


def names_of(student: StudentResult) -> set[str]:
    """Names under which evaluations and curves may speak of a student."""
    return {n for name in (student.name, student.kind) for n in (name, f"student {name}", f"student:{name}")}


class Styles:
    """Style of every potential of a run by its name: by role where the role is known, else from a fixed list.

    ``zero_shot``, ``fine_tuned``, ``student`` and ``labels`` (or ``reference``) are known, and so are the names that
    evaluations carry. Of several students the chosen one has the student's style.
    """

    def __init__(self, results: ForgeResults) -> None:
        self._known: dict[str, Style] = {"labels": REFERENCE, "reference": REFERENCE}
        self._known |= {str(role): style for role, style in BY_ROLE.items()}
        chosen = {n for s in results.students if s.chosen for n in names_of(s)}
        several = len({e.potential for e in results.evaluations if e.role == "student"}) > 1
        for evaluation in results.evaluations:
            if evaluation.role != "student" or not several or not chosen or evaluation.potential in chosen:
                style = BY_ROLE[evaluation.role]
                label = evaluation.potential if evaluation.role == "student" else style.label
                self._known.setdefault(evaluation.potential, replace(style, label=label))
        self._n_others = 0

    def of(self, potential: str) -> Style:
        """Style of a potential, the same whenever the name comes again."""
        if potential not in self._known:
            base = OTHERS[self._n_others % len(OTHERS)]
            self._n_others += 1
            self._known[potential] = replace(base, label=potential)
        return self._known[potential]


def plain(text: str) -> str:
    """Foreign text for a Plotly label, which reads a few HTML tags: shown as it is."""
    return escape(text, quote=False)


def wrapped(text: str, width: int = 26) -> str:
    """Foreign text for a Plotly label, broken into lines of at most about ``width`` characters."""
    return "<br>".join(plain(part) for part in textwrap.wrap(text, width)) or plain(text)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Plotly axis with a title; powers of ten on a logarithmic one, not 'n' and 'p'."""
    power = {"exponentformat": "power"} if more.get("type") == "log" else {}
    return {"title": {"text": title}, **power, **more}


def line(style: Style, width: float = 2.0) -> dict[str, Any]:
    """Plotly line of a style."""
    return {"color": style.color, "dash": style.dash, "width": width}


def marker(style: Style, size: float = 8.0) -> dict[str, Any]:
    """Plotly marker of a style."""
    return {"color": style.color, "symbol": style.symbol, "size": size, "line": {"color": style.color, "width": 1.5}}


def rule(x: float | None = None, y: float | None = None) -> dict[str, Any]:
    """Dashed line across the plot at one value."""
    style = {"color": QUIET, "width": 1.2, "dash": "dash"}
    if x is not None:
        return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": style, "layer": "below"}
    return {"type": "line", "y0": y, "y1": y, "xref": "paper", "x0": 0, "x1": 1, "line": style, "layer": "below"}


def mark(
    text: str, x: float | None = None, y: float | None = None, log_x: bool = False, log_y: bool = False,
    right: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Small text at a line of :func:`rule`; annotations on logarithmic axes are placed by exponent."""
    base: dict[str, Any] = {"text": plain(text), "showarrow": False, "font": {"color": QUIET, "size": 12}}
    if x is not None:
        at = float(np.log10(x)) if log_x else x
        return base | {"x": at, "yref": "paper", "y": 1.0, "xanchor": "left", "yanchor": "top", "xshift": 4}
    height = float(np.log10(y)) if log_y and y else y
    side = {"x": 1.0, "xanchor": "right"} if right else {"x": 0.0, "xanchor": "left"}
    return base | side | {"y": height, "xref": "paper", "yanchor": "bottom"}


def compact(values: Any, digits: int = 6) -> list[float | None]:
    """Numbers rounded to ``digits`` significant digits, NaN as ``None``: small JSON without visible loss."""
    array = np.asarray([np.nan if v is None else v for v in values], dtype=float)
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in array]


def thin(x: np.ndarray, y: np.ndarray, limit: int, cells: int = 70) -> tuple[np.ndarray, np.ndarray]:
    """Choose at most about ``limit`` points so that none that stands alone is lost.

    The plane (x, y - x) is cut in ``cells`` x ``cells``; of each occupied cell the same largest number of points is
    kept, spread evenly over its members. Crowded cells lose points, lonely ones none.

    Args:
        x: (n,) reference values.
        y: (n,) predicted values.
        limit: How many points may be shown; exceeded only where more than ``limit`` cells are occupied.
        cells: Cells along each side.

    Returns:
        Sorted indices of the points kept, and for each of them the number of points in its cell before thinning.
    """
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if finite.size == 0:
        return finite, finite
    cell = _bin(x[finite], cells) * cells + _bin(y[finite] - x[finite], cells)
    _, inverse, counts = np.unique(cell, return_inverse=True, return_counts=True)
    keep = int(counts.max())
    if finite.size > limit:
        sizes = np.arange(1, keep + 1)
        totals = np.array([np.minimum(counts, k).sum() for k in sizes])
        keep = int(sizes[np.searchsorted(totals, limit, side="right") - 1]) if totals[0] <= limit else 1
    order = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    chosen = [
        order[start + np.unique(np.linspace(0, count - 1, min(keep, count)).round().astype(int))]
        for start, count in zip(starts, counts, strict=True)
    ]
    kept = np.sort(np.concatenate(chosen))
    return finite[kept], counts[inverse[kept]]


def _bin(values: np.ndarray, cells: int) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.size, dtype=int)
    return np.minimum((cells * (values - low) / (high - low)).astype(int), cells - 1)
