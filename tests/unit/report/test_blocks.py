import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.report.blocks import format_estimate, format_number, format_unit, in_words, quantity_cell
from limbeck.report.schema import Quantity

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def read_back(text):
    text = text.replace("\u2212", "-").replace("\u202f", "")
    if "×10" in text:
        mantissa, power = text.split("×10")
        return float(mantissa) * 10 ** int(power.translate(SUPERSCRIPTS))
    return float(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(52, "52"), (0.05, "0.05"), (600.0, "600"), (-2.0, "\u22122"), (0.12345678, "0.1235"), (0, "0"), (-0.0, "0"),
     (12600.0, "12\u202f600"), (1234567.0, "1\u202f235\u202f000"), (3.2e-7, "3.2×10⁻⁷"), (4.5e9, "4.5×10⁹"),
     (None, "n/a"), (math.nan, "n/a"), (math.inf, "n/a")],
)  # fmt: skip
def test_numbers_read_well(value, shown):
    assert format_number(value) == shown


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [(0.04871, 0.00213, ("0.0487", "0.0021")), (98.4, 2.04, ("98.4", "2.0")), (12600, 251, ("12\u202f600", "250")),
     (0.0, 0.0931, ("0.000", "0.093")), (-0.0001, 0.5, ("0.00", "0.50")), (5.4, 0.0, ("5.4", "")),
     (5.4, None, ("5.4", "")), (5.4, math.nan, ("5.4", "")), (None, 0.1, ("n/a", "")), (7, 13, ("7", "13"))],
)  # fmt: skip
def test_value_ends_where_its_error_ends(value, error, shown):
    assert format_estimate(value, error) == shown


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-12))
def test_a_shown_number_reads_back_to_four_digits(value):
    assert read_back(format_number(value)) == pytest.approx(value, rel=6e-4)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(1e-7, 1e6))
def test_rounding_is_small_beside_the_error(value, error):
    shown, shown_error = format_estimate(value, error)
    assert abs(read_back(shown) - value) <= max(0.06 * error, 6e-4 * abs(value) if "×" in shown else 0)
    assert read_back(shown_error) == pytest.approx(error, rel=0.06)


def test_words_and_cells():
    assert in_words(1.5, 0.2, "Å^3/atom") == "1.50 ± 0.20 Å³/atom"
    assert in_words(1.5, None, "1") == "1.5"
    assert format_unit("1") == ""
    cell = quantity_cell(Quantity(value=2.0, standard_error=0.1))
    assert (cell.text, cell.error, cell.numeric) == ("2.00", "0.10", True)
    assert quantity_cell(None).text == quantity_cell(Quantity(value=None)).text == "–"
