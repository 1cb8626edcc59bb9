"""Calibration of diffusion coefficients and their intervals on walks whose truth is known.

    python benchmarks/diffusion_calibration.py [--replicas 600] [--output FILE]

Two tables. Brownian walkers, with and without noise on every position: standard deviation of D over the Cramér-Rao
bound, and coverage of the default 68.3 and 95 % intervals. Walkers that also rattle (an Ornstein-Uhlenbeck process with
a memory of some frames): mean of D over the truth and coverage of the 95 % interval, a tenth as many replicas. Errors
of coverage are binomial. Seeds are fixed. No peer runs here yet.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from limbeck.core.record import write_json
from limbeck.core.rng import stream
from limbeck.observables.diffusion.tracer import CM2_PER_S, diffusion
from limbeck.observables.diffusion.walk import least_relative_error

BROWNIAN = (
    (1, 100, 0.0),
    (1, 1000, 0.0),
    (4, 100, 1.0),
    (8, 100, 0.0),
    (32, 400, 1.0),
    (32, 400, 10.0),
    (256, 100, 0.0),
)
"""Walkers, steps, noise variance over step variance."""
RATTLING = (
    (1, 1000, 0.2, 10.0, 0.6),
    (16, 1500, 0.2, 15.0, 0.8),
    (24, 2000, 0.05, 10.0, 0.3),
    (16, 600, 0.3, 8.0, 1.0),
)
"""Walkers, steps, step length (Å, one axis), memory of the rattle (frames), its amplitude (Å, one axis)."""


def walks(rng: np.random.Generator, n: int, walkers: int) -> np.ndarray:
    """Walks with unit steps."""
    return np.concatenate([np.zeros((1, walkers, 3)), np.cumsum(rng.normal(size=(n, walkers, 3)), axis=0)])


def rattle(rng: np.random.Generator, n: int, walkers: int, memory: float) -> np.ndarray:
    """Stationary Ornstein-Uhlenbeck process of unit variance."""
    keep = np.exp(-1 / memory)
    kicks = np.sqrt(1 - keep**2) * rng.normal(size=(n + 1, walkers, 3))
    kicks[0] /= np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], kicks, axis=0))


def judged(make: Callable[[], np.ndarray], truth: float, replicas: int) -> tuple[np.ndarray, np.ndarray]:
    """D over the truth, and whether the 68.3 and 95 % intervals hold it, of every replica."""
    values, inside = np.empty(replicas), np.empty((replicas, 2))
    for k in range(replicas):
        found = diffusion(make(), 1.0)
        values[k] = found.coefficient.value / truth
        for column, level in enumerate((0.6827, 0.95)):
            low, high = found.interval(level)
            inside[k, column] = low <= truth <= high
    return values, inside


def rows(replicas: int) -> Iterator[dict]:
    """Rows of both tables."""
    for walkers, n, noise in BROWNIAN:
        rng = stream(1, "brownian", walkers, n, str(noise))
        truth = 0.5 * CM2_PER_S

        def brownian(rng: np.random.Generator = rng, n: int = n, p: int = walkers, noise: float = noise) -> np.ndarray:
            return walks(rng, n, p) + np.sqrt(noise) * rng.normal(size=(n + 1, p, 3))

        values, inside = judged(brownian, truth, replicas)
        name = f"diffusion-brownian-{walkers}x{n}-noise-{noise:g}"
        spread = float(values.std(ddof=1) / least_relative_error(n, 3 * walkers, noise))
        yield row(f"{name}-std-to-bound", spread, spread / np.sqrt(2 * replicas), "1", replicas)
        yield from coverage(name, inside)
    for walkers, n, length, memory, amplitude in RATTLING:
        rng = stream(2, "rattling", walkers, n)

        def rattling(
            rng: np.random.Generator = rng, n: int = n, p: int = walkers, s: float = length, t: float = memory,
            a: float = amplitude,
        ) -> np.ndarray:  # fmt: skip
            return s * walks(rng, n, p) + a * rattle(rng, n, p, t)

        values, inside = judged(rattling, 0.5 * length**2 * CM2_PER_S, max(replicas // 10, 20))
        name = f"diffusion-rattling-{walkers}x{n}"
        error = float(values.std(ddof=1) / np.sqrt(len(values)))
        yield row(f"{name}-mean-to-truth", float(values.mean()), error, "1", len(values))
        yield from list(coverage(name, inside))[1:]


def coverage(name: str, inside: np.ndarray) -> Iterator[dict]:
    """Rows of the coverage in per cent."""
    for column, level in enumerate((68, 95)):
        share = float(inside[:, column].mean())
        error = float(np.sqrt(max(share * (1 - share), 0.25 / len(inside)) / len(inside)))
        yield row(f"{name}-coverage-{level}", 100 * share, 100 * error, "%", len(inside))


def row(name: str, value: float, error: float, unit: str, replicas: int) -> dict:
    """One row."""
    command = shlex.join([".venv/bin/python", "benchmarks/diffusion_calibration.py", *sys.argv[1:]])
    return {"id": name, "value": value, "standard_error": float(error), "unit": unit, "command": command,
            "note": f"{replicas} replicas"}  # fmt: skip


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=600)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    if arguments.replicas < 100:
        parser.error("--replicas must be at least 100: coverage needs counts")
    found = []
    for one in rows(arguments.replicas):
        found.append(one)
        sys.stdout.write(f"{one['id']:60} {one['value']:8.2f} ± {one['standard_error']:.2g} {one['unit']}\n")
        sys.stdout.flush()
    write_json(arguments.output, found)


if __name__ == "__main__":
    main()
