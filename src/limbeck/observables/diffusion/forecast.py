"""How much longer a run must be for an error that one wants.

Errors of a slope fall with the root of the length of the run once it is much longer than the first lag of its window,
so the length for a relative error e is the present length times (present relative error / e)^2. The present error is
itself known from few blocks; its chi-square interval carries over to the forecast.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from limbeck.core.estimate import Estimate


@dataclass(frozen=True)
class Forecast:
    """Length of a run.

    Attributes:
        target: Relative standard error wanted.
        total_fs: Length of the whole run that gives it; infinite where the value is not above zero.
        low_fs: Lower end of the 68 % interval of that length.
        high_fs: Upper end.
        so_far_fs: Length so far.
    """

    target: float
    total_fs: float
    low_fs: float
    high_fs: float
    so_far_fs: float

    @property
    def is_reached(self) -> bool:
        """Whether the run is long enough already."""
        return self.total_fs <= self.so_far_fs


def forecast(estimate: Estimate, degrees: float, so_far_fs: float, target: float = 0.1) -> Forecast:
    """Length of a run for a relative standard error.

    Args:
        estimate: What is known so far.
        degrees: Degrees of freedom of its error; infinite where it is exact.
        so_far_fs: Length of the run behind it.
        target: Relative standard error wanted.

    Raises:
        ValueError: If the target is not above zero.
    """
    if not target > 0:
        raise ValueError(f"a relative error must be above zero, got {target:g}")
    if estimate.value <= 0:
        return Forecast(target, float("inf"), float("inf"), float("inf"), so_far_fs)
    total = so_far_fs * (estimate.standard_error / estimate.value / target) ** 2
    if not np.isfinite(degrees):
        return Forecast(target, total, total, total, so_far_fs)
    ends = [total * degrees / float(chi2.ppf(p, degrees)) for p in (0.84, 0.16)]
    return Forecast(target, total, ends[0], ends[1], so_far_fs)
