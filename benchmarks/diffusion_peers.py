"""Diffusion beside its peers: the same arrays, accuracy, coverage and time; and a large trajectory.

    python3.11 -m venv .venv-peers && .venv-peers/bin/pip install -r benchmarks/peers/requirements.txt
    OMP_NUM_THREADS=1 python benchmarks/diffusion_peers.py --peers .venv-peers/bin/python [--output FILE] [--skip-large]

Peers: kinisi (its default; GLS and Monte Carlo), pymatgen-analysis-diffusion (smoothed, its default, and unsmoothed),
tidynamics (the FFT behind MDAnalysis's EinsteinMSD, then the customary line through 10 to 50 % of the run). Walks of
unit steps, D = 0.5. Times are wall seconds of one analysis, imports left out, peers one after the other on an idle
machine; the median of the replicas. Small runs use one core everywhere; on the large one ours uses all cores of the
machine, tidynamics one. The large trajectory (1000 ions, 100 000 frames, 1.2 GB of single precision) goes
through the command line as a user would: file, unwrapping, paths beyond memory, tracer, charge, Haven ratio.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import norm

from limbeck.core.record import write_json
from limbeck.core.rng import stream
from limbeck.observables.diffusion.tracer import CM2_PER_S, diffusion
from limbeck.observables.diffusion.walk import least_relative_error

TRUTH = 0.5
WORKER = Path(__file__).parent / "peers" / "diffusion_peer.py"
SMALL = {"kinisi": 12, "pymatgen": 60, "pymatgen-unsmoothed": 60, "tidynamics": 60}
"""Replicas of 32 walkers and 400 steps that each peer analyzes (kinisi: half a minute each)."""
CALIBRATED = {"kinisi": 100}
"""Replicas of 32 walkers and 100 steps, for coverage."""
LARGE = (1000, 100_000)
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
sys.stdout.write("\\n" + str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""
"""Runs a command and adds its peak memory in KiB. A small process in between: Linux counts the memory of the one that
starts a command, here that of gigabytes of walks, as the command's."""
TIDYNAMICS_IONS = 20
"""Ions of the large trajectory that tidynamics is timed on; its time is proportional to their number."""


def walks(name: str, replicas: int, n: int, walkers: int) -> np.ndarray:
    """Walks with unit steps, (replicas, frames, walkers, 3)."""
    steps = stream(11, "peers", name).normal(size=(replicas, n, walkers, 3))
    return np.concatenate([np.zeros((replicas, 1, walkers, 3)), np.cumsum(steps, axis=1)], axis=1)


def of_peer(python: str, name: str, paths: np.ndarray) -> list[dict]:
    """Results of a peer in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "walks.npy", Path(folder) / "result.json"
        np.save(source, paths)
        subprocess.run([python, str(WORKER), name, str(source), str(target)], check=True, capture_output=True)
        return json.loads(target.read_text())


def ours(paths: np.ndarray) -> list[dict]:
    """Our results for the same arrays."""
    diffusion(paths[0], 1.0)
    rows = []
    for one in paths:
        began = time.perf_counter()
        found = diffusion(one, 1.0)
        seconds = time.perf_counter() - began
        value = found.coefficient.value / CM2_PER_S
        inside = [low <= TRUTH * CM2_PER_S <= high for low, high in (found.interval(level) for level in (0.6827, 0.95))]
        rows.append({"value": value, "seconds": seconds, "inside": inside})
    return rows


def described(name: str, label: str, results: list[dict], bound: float) -> list[dict]:
    """Rows of the table: time, scatter over the bound, coverage."""
    values = np.array([r["value"] for r in results])
    times = np.array([r["seconds"] for r in results])
    n = len(results)
    spread = float(values.std(ddof=1) / TRUTH / bound)
    rows = [
        row(f"{name}-{label}-ms", 1e3 * float(np.median(times)), 1e3 * float(times.std(ddof=1) / np.sqrt(n)), "ms", n),
        row(f"{name}-{label}-std-to-bound", spread, spread / np.sqrt(2 * n), "1", n),
    ]
    if results[0].get("inside") is not None:
        inside = np.array([r["inside"] for r in results], dtype=float)
    elif results[0]["standard_error"] is not None:
        scores = np.abs(values - TRUTH) / np.array([max(r["standard_error"], 1e-300) for r in results])
        inside = np.stack([scores < norm.ppf(0.5 + level / 2) for level in (0.6827, 0.95)], axis=1).astype(float)
    else:
        return rows
    for column, level in enumerate((68, 95)):
        share = float(inside[:, column].mean())
        error = float(np.sqrt(max(share * (1 - share), 0.25 / n) / n))
        rows.append(row(f"{name}-{label}-coverage-{level}", 100 * share, 100 * error, "%", n))
    return rows


def row(name: str, value: float, error: float, unit: str, replicas: int) -> dict:
    """One row."""
    command = shlex.join([".venv/bin/python", "benchmarks/diffusion_peers.py", *sys.argv[1:]])
    return {"id": name, "value": value, "standard_error": error, "unit": unit, "command": command,
            "note": f"{replicas} replicas" if replicas > 1 else ""}  # fmt: skip


def small(python: str) -> list[dict]:
    """32 walkers, 400 and 100 steps."""
    rows = []
    for name, n, replicas in (("diffusion-32x400", 400, SMALL), ("diffusion-32x100", 100, CALIBRATED)):
        paths = walks(name, max(replicas.values()), n, 32)
        bound = least_relative_error(n, 96)
        mine = described(name, "limbeck", ours(paths), bound)
        rows += mine
        for peer, count in replicas.items():
            theirs = described(name, peer, of_peer(python, peer, paths[:count]), bound)
            rows += theirs
            ratio = theirs[0]["value"] / mine[0]["value"]
            relative = np.hypot(*(r[0]["standard_error"] / r[0]["value"] for r in (theirs, mine)))
            rows.append(row(f"{name}-speedup-{peer}", ratio, float(ratio * relative), "1", count))
    return rows


def large(python: str) -> list[dict]:
    """The large trajectory, through the command line; and tidynamics on some of its ions."""
    ions, frames = LARGE
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path, start = Path(folder) / "large.npy", Path(folder) / "start.extxyz"
        array = np.lib.format.open_memmap(path, "w+", np.float32, (frames, ions + 1, 3))
        rng, place = stream(12, "large"), np.zeros((ions, 3))
        for first in range(0, frames, 1000):
            steps = 0.3 * rng.normal(size=(1000, ions, 3))
            array[first : first + 1000, :ions] = place + np.cumsum(steps, axis=0)
            place = place + steps.sum(axis=0)
        array.flush()
        some = np.array(array[:, :TIDYNAMICS_IONS], dtype=float)
        del array
        header = f'{ions + 1}\nLattice="100 0 0 0 100 0 0 0 100" pbc="T T T"\n'
        start.write_text(header + "Li 0 0 0\n" * ions + "S 0 0 0\n")
        command = [sys.executable, "-m", "limbeck", "diffusion", str(path), "--species", "Li", "--temperature_K", "600",
                   "--structure", str(start), "--interval_fs", "20", "--unwrapped", "--scratch", f"{folder}/paths",
                   "--json"]  # fmt: skip
        began = time.perf_counter()
        process = subprocess.run(
            [sys.executable, "-c", PEAK, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        seconds = time.perf_counter() - began
        said, _, peak = process.stdout.decode().rpartition("\n")
        peak_GB = int(peak) * 1024 / 1e9
        found = json.loads(said)["species"]["Li"]["diffusion"]
        truth = 0.5 * 0.09 / 20 * CM2_PER_S
        rows = [
            row("diffusion-large-s", seconds, 0.0, "s", 1),
            row("diffusion-large-rss-gb", peak_GB, 0.0, "GB", 1),
            row("diffusion-large-D-to-truth", found["value"] / truth, found["standard_error"] / truth, "1", 1),
        ]
        theirs = of_peer(python, "tidynamics", some[None])[0]["seconds"]
    scaled = theirs * ions / TIDYNAMICS_IONS
    rows.append(row("diffusion-large-tidynamics-s", scaled, 0.0, "s", 1))
    rows[-1]["note"] = (
        f"one core; mean square displacement only, of {TIDYNAMICS_IONS} ions, times {ions // TIDYNAMICS_IONS}"
    )
    return rows


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="Python of the environment that holds the peers")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--skip-large", action="store_true")
    parser.add_argument("--skip-small", action="store_true")
    arguments = parser.parse_args()
    found = [] if arguments.skip_large else large(arguments.peers)
    found += [] if arguments.skip_small else small(arguments.peers)
    for one in found:
        sys.stdout.write(f"{one['id']:55} {one['value']:10.3g} ± {one['standard_error']:.2g} {one['unit']}\n")
    write_json(arguments.output, found)


if __name__ == "__main__":
    main()
