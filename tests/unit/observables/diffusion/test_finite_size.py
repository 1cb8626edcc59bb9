"""Yeh-Hummer: a number by hand in SI, and what is refused."""

import pytest

from limbeck.core.estimate import Estimate
from limbeck.observables.diffusion.finite_size import yeh_hummer


def test_water_by_hand() -> None:
    """TIP3P-like water, 216 molecules: kB 298 K xi / (6 pi 0.32 mPa s 18.6 Å) = 1.04e-5 cm^2/s."""
    found = yeh_hummer(
        Estimate(5.2e-5, 0.1e-5, 9, "cm^2/s", "msd"), 298.0, Estimate(0.32, 0.032, 9, "mPa s", "GK"), 18.6
    )
    shift = 2.837297 * 1.380649e-23 * 298.0 / (6 * 3.141592653589793 * 0.32e-3 * 18.6e-10) * 1e4
    assert found.value == pytest.approx(5.2e-5 + shift, rel=1e-12)
    assert shift == pytest.approx(1.04e-5, rel=0.01)
    assert found.standard_error == pytest.approx((1e-12 + (0.1 * shift) ** 2) ** 0.5, rel=1e-9)


def test_wrong_units_and_values_are_refused() -> None:
    d, eta = Estimate(1e-5, 1e-6, 9, "cm^2/s", ""), Estimate(0.3, 0.03, 9, "mPa s", "")
    with pytest.raises(ValueError, match="mPa s"):
        yeh_hummer(d, 300.0, Estimate(0.3, 0.03, 9, "Pa s", ""), 20.0)
    for t, length in ((0.0, 20.0), (300.0, -1.0)):
        with pytest.raises(ValueError, match="above zero"):
            yeh_hummer(d, t, eta, length)
