"""Calibration of diffusion coefficients and their intervals on walks whose truth is known.

    python benchmarks/diffusion_calibration.py [--replicas 10000] [--output FILE]

Brownian walkers, with and without noise on every position: variance of D over the Cramér-Rao bound, and coverage of
the default 68.3 and 95 % intervals; the worst row of each stands first. Walkers that also rattle (an
Ornstein-Uhlenbeck process with a memory of some frames): mean of D over the truth and coverage of the 95 % interval.
Hops with heavy-tailed waits and one block of the run in which everybody hops ten times as often: coverage of the
ensemble truth, and how often the rare event is told of. Haven ratios whose truth is known: independent ions, rigid
pairs, ions that move as one, and a lattice gas with site exclusion (its conductivity is that of free ions times the
chance that a neighbor is free, 1 - c on a large lattice; with one vacancy its Haven ratio tends to 0.6531 on a simple
cubic lattice). A tenth as many replicas outside the
first table, a twentieth for the largest walks and the lattice gases. Errors of coverage are binomial. Seeds are fixed.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numba import njit
from scipy.signal import lfilter

from limbeck.core.record import write_json
from limbeck.core.rng import stream
from limbeck.observables.diffusion.diagnosis import diagnose
from limbeck.observables.diffusion.paths import Paths
from limbeck.observables.diffusion.tracer import CM2_PER_S, diffusion
from limbeck.observables.diffusion.transport import Transport, transport
from limbeck.observables.diffusion.walk import least_relative_error
from limbeck.observables.diffusion.walkers import MemoryWalkers

BROWNIAN = (
    (1, 100, 0.0),
    (1, 1000, 0.0),
    (1, 5000, 1.0),
    (4, 100, 1.0),
    (8, 100, 0.0),
    (8, 1000, 0.0),
    (32, 400, 0.0),
    (32, 400, 1.0),
    (32, 400, 10.0),
    (64, 1000, 0.0),
    (256, 100, 0.0),
    (256, 5000, 1.0),
)
"""Walkers, steps, noise variance over step variance."""
MANY_VALUES = 1_000_000
"""Rows whose walks have more values get a twentieth of the replicas."""
RARE = ((16, 1000, 1.4), (32, 2000, 1.4), (32, 2000, 2.2), (64, 4000, 3.5))
"""Ions, frames, exponent of the waits' tail."""
RATTLING = (
    (12, 400, 0.3, 15.0, 0.5),
    (12, 1000, 0.3, 10.0, 0.5),
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


def heavy_tailed(rng: np.random.Generator, n: int, ions: int, exponent: float, rate: float = 0.02) -> np.ndarray:
    """Hops of 2.5 Å whose waits have a power-law tail, stationary; in one twentieth of the run ten times as many."""
    scale = (exponent - 1) / rate
    waits = rng.pareto(exponent, (ions, int(6 * n * rate) + 60)) * scale
    times = np.cumsum(np.concatenate([rng.pareto(exponent - 1, (ions, 1)) * scale, waits], axis=1), axis=1)
    hops = np.stack([np.bincount(t[t < n].astype(int), minlength=n) for t in times], axis=1)
    burst = int(rng.integers(0, n - n // 20))
    hops[burst : burst + n // 20] += rng.poisson(9 * rate, (n // 20, ions))
    x = rng.binomial(hops, 1 / 3)
    y = rng.binomial(hops - x, 1 / 2)
    steps = np.stack([2.5 * (2 * rng.binomial(k, 0.5) - k) for k in (x, y, hops - x - y)], axis=2)
    return np.cumsum(steps, axis=0) + 0.05 * rng.normal(size=(n, ions, 3))


@njit
def lattice_gas(size: int, ions: int, sweeps: int, seed: int) -> np.ndarray:
    """Ions on a simple cubic lattice that try steps to neighbors and take free ones; unwrapped, one row a sweep."""
    np.random.seed(seed)  # noqa: NPY002 - numba's own generator, in compiled code
    sites = size**3
    order = np.random.permutation(sites)  # noqa: NPY002 - of the compiled loop, seeded at its head
    taken = np.zeros(sites, np.bool_)
    place = np.zeros((ions, 3), np.int64)
    for k in range(ions):
        taken[order[k]] = True
        place[k, 0], place[k, 1], place[k, 2] = order[k] // size**2, order[k] // size % size, order[k] % size
    path = place.copy()
    found = np.zeros((sweeps + 1, ions, 3))
    found[0] = path
    for sweep in range(sweeps):
        for _ in range(ions):
            k, direction = np.random.randint(ions), np.random.randint(6)  # noqa: NPY002 - of the compiled loop, seeded at its head
            axis, sign = direction // 2, 2 * (direction % 2) - 1
            to = place[k].copy()
            to[axis] = (to[axis] + sign) % size
            site = (to[0] * size + to[1]) * size + to[2]
            if not taken[site]:
                taken[(place[k, 0] * size + place[k, 1]) * size + place[k, 2]] = False
                taken[site] = True
                place[k] = to
                path[k, axis] += sign
        found[sweep + 1] = path
    return found


def transported(positions: np.ndarray) -> Transport:
    """Transport of ions of charge one at 600 K in 1000 Å^3."""
    species = ("Li",) * positions.shape[1]
    return transport(Paths(MemoryWalkers(positions), 20.0, species, "none", 1000.0, 0.1, ()), 600.0, {"Li": 1.0})


def haven(replicas: int) -> Iterator[dict]:
    """Haven ratios and conductivities whose truth is known."""

    def independent(rng: np.random.Generator) -> np.ndarray:
        return walks(rng, 600, 24)

    def pairs(rng: np.random.Generator) -> np.ndarray:
        return np.repeat(walks(rng, 600, 12), 2, axis=1)

    def as_one(rng: np.random.Generator) -> np.ndarray:
        return np.repeat(walks(rng, 600, 1), 24, axis=1)

    for name, make, truth in (("independent", independent, 1.0), ("pairs", pairs, 0.5), ("as-one", as_one, 1 / 24)):
        rng = stream(24, "haven", name)
        ends = [[transported(x).haven_interval(level) for level in (0.6827, 0.95)] for x in
                (make(rng) for _ in range(max(replicas // 10, 50)))]  # fmt: skip
        inside = np.array([[low <= truth <= high for low, high in one] for one in ends], dtype=float)
        yield from coverage(f"diffusion-haven-{name}", inside)
    for name, size, ions in (("half-full", 6, 108), ("one-vacancy", 5, 124)):
        inside, ratios = [], []
        for k in range(max(replicas // 20, 25)):
            found = transported(lattice_gas(size, ions, 8000 if name == "half-full" else 60000, 10100 + k)[::20])
            free = (1 / 6) * 20 * CM2_PER_S / 20.0  # D of a free ion: one try a sweep, frames of 20 sweeps every 20 fs
            scale = found.nernst_einstein.value / found.tracer["Li"].coefficient.value
            sites = (
                size**3
            )  # a neighbor of an ion is one of the others: free with probability (sites - ions) / (sites - 1)
            truth = (sites - ions) / (sites - 1) * free * scale
            ends = [found.conductivity_interval(level) for level in (0.6827, 0.95)]
            inside.append([low <= truth <= high for low, high in ends])
            ratios.append(found.haven_ratio.value)
        yield from coverage(f"diffusion-lattice-gas-{name}-conductivity", np.array(inside, dtype=float))
        error = float(np.std(ratios, ddof=1) / np.sqrt(len(ratios)))
        yield row(f"diffusion-lattice-gas-{name}-haven-ratio", float(np.mean(ratios)), error, "1", len(ratios))


def worst(found: list[dict], ending: str, name: str, ideal: float) -> dict:
    """The row of the Brownian table that is farthest from the ideal, under the name of the claim."""
    rows_of = [r for r in found if r["id"].startswith("diffusion-brownian-") and r["id"].endswith(ending)]
    row_ = max(rows_of, key=lambda r: abs(r["value"] - ideal))
    mean = np.mean([r["value"] for r in rows_of])
    note = f"worst of {len(rows_of)} rows ({row_['id']}, {row_['note']}); their mean is {mean:.4g}"
    return row_ | {"id": name, "note": note}


def rows(replicas: int) -> Iterator[dict]:
    """Rows of all tables."""
    for walkers, n, noise in BROWNIAN:
        rng = stream(21, "brownian", walkers, n, str(noise))
        truth = 0.5 * CM2_PER_S
        count = max(replicas // 20, 100) if walkers * n * 3 > MANY_VALUES else replicas

        def brownian(rng: np.random.Generator = rng, n: int = n, p: int = walkers, noise: float = noise) -> np.ndarray:
            return walks(rng, n, p) + np.sqrt(noise) * rng.normal(size=(n + 1, p, 3))

        values, inside = judged(brownian, truth, count)
        name = f"diffusion-brownian-{walkers}x{n}-noise-{noise:g}"
        ratio = float(values.var(ddof=1) / least_relative_error(n, 3 * walkers, noise) ** 2)
        yield row(f"{name}-variance-to-bound", ratio, ratio * np.sqrt(2 / count), "1", count)
        yield from coverage(name, inside)
    for ions, n, exponent in RARE:
        rng, inside, told = stream(23, "rare", ions, n, str(exponent)), [], []
        truth = 0.02 * (1 + 9 / 20) * 2.5**2 / 6 * CM2_PER_S
        for _ in range(max(replicas // 10, 50)):
            found = diffusion(heavy_tailed(rng, n, ions, exponent), 1.0)
            low, high = found.interval(0.95)
            inside.append([low <= truth <= high])
            told.append(any("rare event" in w for w in (*found.warnings, *diagnose(found).warnings)))
        name = f"diffusion-rare-{ions}x{n}-tail-{exponent:g}"
        share = np.array([[i[0], t] for i, t in zip(inside, told, strict=True)], dtype=float)
        both = list(coverage(name, share))
        yield both[0] | {"id": f"{name}-coverage-95"}
        yield both[1] | {"id": f"{name}-told"}
    yield from haven(replicas)
    for walkers, n, length, memory, amplitude in RATTLING:
        rng = stream(22, "rattling", walkers, n)

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
    parser.add_argument("--replicas", type=int, default=10000)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    if arguments.replicas < 100:
        parser.error("--replicas must be at least 100: coverage needs counts")
    found = []
    for one in rows(arguments.replicas):
        found.append(one)
        sys.stdout.write(f"{one['id']:60} {one['value']:8.2f} ± {one['standard_error']:.2g} {one['unit']}\n")
        sys.stdout.flush()
    rare = min((r for r in found if "-rare-" in r["id"] and r["id"].endswith("-coverage-95")), key=lambda r: r["value"])
    claims = [
        worst(found, "-coverage-68", "diffusion-coverage-68", 68.27),
        worst(found, "-coverage-95", "diffusion-coverage-95", 95.0),
        worst(found, "-variance-to-bound", "diffusion-variance-to-bound", 1.0),
        rare
        | {"id": "diffusion-rare-event-coverage", "note": f"lowest of {len(RARE)} rows ({rare['id']}, {rare['note']})"},
    ]
    write_json(arguments.output, [*claims, *found])


if __name__ == "__main__":
    main()
