"""What a report is made of: sections of plots, tables, facts and notes, as plain values for ``document``."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from limbeck.report.schema import Quantity

Tone = Literal["", "good", "bad", "quiet", "strong"]

MINUS, NARROW_SPACE = "\u2212", "\u202f"


@dataclass(frozen=True)
class Cell:
    """One table cell.

    Attributes:
        text: Text, or the value as text.
        error: Standard error as text, shown after ``±``; empty where there is none.
        tone: How it is set off; a good or bad cell also carries a sign, so that color is never the only mark.
        numeric: Right-aligned with even digits.
    """

    text: str
    error: str = ""
    tone: Tone = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """Table with a caption; ``folded`` tables open on a click."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Plot:
    """One interactive figure: Plotly traces and layout, where colors are names of CSS variables.

    Attributes:
        id: Identifier in the page.
        data: Plotly traces.
        layout: Plotly layout, without fonts and colors, which the page's theme adds.
        caption: What to see in it.
        shape: ``wide``, ``half`` or ``square``.
        title: Short heading above it.
    """

    kind: ClassVar[str] = "plot"
    id: str
    data: tuple[dict[str, Any], ...]
    layout: dict[str, Any]
    caption: str = ""
    shape: Literal["wide", "half", "square"] = "wide"
    title: str = ""


@dataclass(frozen=True)
class PlotGrid:
    """Several small plots under one title and one caption."""

    kind: ClassVar[str] = "grid"
    plots: tuple[Plot, ...]
    caption: str
    columns: int = 3
    title: str = ""


@dataclass(frozen=True)
class Note:
    """A paragraph; ``pending`` marks a part of the run that is not reached yet."""

    kind: ClassVar[str] = "note"
    text: str
    pending: bool = False


@dataclass(frozen=True)
class Code:
    """Text to copy, set in a fixed-width face."""

    kind: ClassVar[str] = "code"
    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Facts:
    """Short label and value pairs."""

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class DatasetView:
    """Place of the interactive view of all labelled frames; loaded on demand."""

    kind: ClassVar[str] = "dataset"
    caption: str
    frames: int


Block = Table | Plot | PlotGrid | Note | Code | Facts | DatasetView


@dataclass(frozen=True)
class Section:
    """Part of the report with an anchor of its own."""

    id: str
    title: str
    lead: str = ""
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Card:
    """Key number on top of the report."""

    label: str
    value: str
    error: str = ""
    unit: str = ""
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        title: Heading.
        subtitle: What the run was, in one line.
        verdict: One sentence that says whether the potential is good.
        verdict_tone: ``good``, ``bad`` or ``quiet`` (no verdict yet).
        verdict_word: One or two words for the badge.
        warnings: What a reader must know before anything else.
        cards: Key numbers.
        sections: The parts.
        facts: Command, times, seed.
    """

    title: str
    subtitle: str
    verdict: str
    verdict_tone: Tone
    verdict_word: str
    warnings: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    sections: tuple[Section, ...] = ()
    facts: tuple[tuple[str, str], ...] = field(default_factory=tuple)


def format_number(value: float | None, digits: int = 4) -> str:
    """Number for reading: up to ``digits`` significant digits, grouped thousands, powers of ten where shorter."""
    if value is None or not math.isfinite(value):
        return "n/a"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent > 6:
        mantissa, power = f"{value:.{max(digits - 1, 0)}e}".split("e")
        return _sign(f"{_trim(mantissa)}×10{_superscript(int(power))}")
    decimals = max(digits - 1 - exponent, 0)
    return _sign(_group(_trim(f"{round(value, digits - 1 - exponent):.{decimals}f}")))


def format_estimate(value: float | None, standard_error: float | None) -> tuple[str, str]:
    """Value and error as two texts; the error has two significant digits, the value ends at the same place.

    Below a thousandth both carry the same power of ten.

    Args:
        value: Best estimate, or ``None``.
        standard_error: Its standard error, or ``None``.

    Returns:
        ``(value, error)``; the error is empty where there is none.
    """
    if value is None or not math.isfinite(value):
        return "n/a", ""
    if standard_error is None or not math.isfinite(standard_error) or standard_error <= 0:
        return format_number(value), ""
    place = math.floor(math.log10(standard_error)) - 1
    scale = max(abs(value), standard_error)
    if scale < 1e-3:
        power = math.floor(math.log10(scale))
        mantissa, error = format_estimate(value / 10.0**power, standard_error / 10.0**power)
        return f"{mantissa}×10{_superscript(power)}", f"{error}×10{_superscript(power)}"
    if place < -8 or scale >= 1e7:
        return format_number(value), format_number(standard_error, 2)
    decimals = max(-place, 0)
    rounded = round(value, -place)
    return (
        _sign(_group(f"{rounded:.{decimals}f}")),
        _group(f"{round(standard_error, -place):.{decimals}f}"),
    )


def quantity_cell(quantity: Quantity | None, tone: Tone = "") -> Cell:
    """Numeric cell of a quantity; an en dash where there is none."""
    if quantity is None or quantity.value is None:
        return Cell("–", numeric=True, tone="quiet")
    value, error = format_estimate(quantity.value, quantity.standard_error)
    return Cell(value, error, tone, True)


def number_cell(value: float | None, digits: int = 4) -> Cell:
    """Numeric cell of a plain number; an en dash where there is none."""
    if value is None:
        return Cell("–", numeric=True, tone="quiet")
    return Cell(format_number(value, digits), numeric=True)


def count_cell(value: int | None) -> Cell:
    """Numeric cell of a count, every digit shown."""
    return Cell("–", numeric=True, tone="quiet") if value is None else Cell(_group(str(value)), numeric=True)


def in_words(value: float | None, standard_error: float | None, unit: str = "") -> str:
    """``0.0487 ± 0.0021 eV/Å``: one quantity inside a sentence."""
    shown, error = format_estimate(value, standard_error)
    text = f"{shown} ± {error}" if error else shown
    return f"{text} {format_unit(unit)}".rstrip()


def format_unit(unit: str) -> str:
    """Unit for reading: powers raised, nothing for pure numbers."""
    return "" if unit == "1" else unit.replace("^2", "²").replace("^3", "³")


def _trim(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _sign(text: str) -> str:
    if text.startswith("-") and not text.strip("-0.,"):
        return text[1:]
    return text.replace("-", MINUS)


def _group(digits: str) -> str:
    whole, dot, rest = digits.partition(".")
    negative, whole = whole.startswith("-"), whole.lstrip("-")
    if len(whole) > 4:
        head = len(whole) % 3
        parts = ([whole[:head]] if head else []) + [whole[i : i + 3] for i in range(head, len(whole), 3)]
        whole = NARROW_SPACE.join(parts)
    return ("-" if negative else "") + whole + dot + rest


def _superscript(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
