"""Times of frames: at equal intervals, or one clear error."""

import numpy as np
from jaxtyping import Float, Int

from limbeck.core.errors import StructureError

SINGLE = 1.2e-7
"""Relative distance of two numbers of single precision."""
COARSE = 0.1
"""Times whose digits are coarser than this share of the interval are refused."""


class Clock:
    """Checks that times are at equal intervals, and leaves out frames that a restart wrote twice.

    Times in single precision (of picoseconds, as XTC and TRR hold them) have errors of their own; the interval is that
    between the first and the last frame.
    """

    def __init__(self) -> None:
        self.first, self.last, self.interval_fs = float("nan"), float("nan"), float("nan")
        self.count = 0

    def new(self, times_fs: Float[np.ndarray, " n"], first: int) -> Int[np.ndarray, " kept"]:
        """Numbers within the chunk of the frames to use; ``first`` is the number of its first frame."""
        kept = []
        for number, time in enumerate(times_fs.tolist()):
            step = time - self.last
            if np.isnan(self.last):
                self.first = time
                kept.append(number)
            else:
                digits = SINGLE * abs(time) if float(np.float32(time / 1e3)) == time / 1e3 else 0.0
                if np.isnan(self.interval_fs) and step != 0:
                    self.interval_fs = step
                if digits > COARSE * abs(self.interval_fs if step == 0 else step):
                    raise StructureError(
                        f"times of the file have too few digits: at {time:g} fs they are {digits:.2g} fs apart. Give "
                        "the time between frames (--interval_fs)."
                    )
                if step != 0:
                    self._check(step, time, digits, first + number)
                    kept.append(number)
            self.last = time
        return np.array(kept, dtype=int)

    def _check(self, step: float, time: float, digits: float, number: int) -> None:
        if self.interval_fs <= 0 or abs(step - self.interval_fs) > 1e-3 * self.interval_fs + 2 * digits:
            raise StructureError(
                f"frames are not at equal, increasing times: frame {number} at {time:g} fs follows one at "
                f"{self.last:g} fs, the interval is {self.interval_fs:g} fs. Cut the trajectory into parts without "
                "gaps, or leave out what a restart wrote twice."
            )
        self.count += 1

    def finish(self) -> None:
        """All frames were seen: the interval is that of the whole run."""
        if self.count:
            self.interval_fs = (self.last - self.first) / self.count

    def too_few(self, n_frames: int, seen: int, skip_fs: float) -> str:
        """What to say of a trajectory without a second frame."""
        if skip_fs and seen > 1:
            return f"diffusion needs at least two frames, got {n_frames} of {seen} after leaving out {skip_fs:g} fs."
        if n_frames == 1 and seen > 1:
            return "diffusion needs at least two frames at different times, got one time only."
        return f"diffusion needs at least two frames, got {n_frames}."

    def state(self) -> Float[np.ndarray, " 4"]:
        """To go on from."""
        return np.array([self.first, self.last, self.interval_fs, self.count])

    @classmethod
    def from_state(cls, values: np.ndarray) -> "Clock":
        """A clock that goes on."""
        clock = cls()
        clock.first, clock.last, clock.interval_fs, count = values.tolist()
        clock.count = int(count)
        return clock
