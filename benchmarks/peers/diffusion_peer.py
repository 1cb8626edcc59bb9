"""One peer on one set of walks, in an environment of its own: diffusion coefficients, errors, and time of each.

    PEER/bin/python benchmarks/peers/diffusion_peer.py NAME WALKS.npy RESULT.json

NAME is kinisi, pymatgen, pymatgen-unsmoothed or tidynamics; WALKS has the shape (replicas, frames, walkers, 3), in Å at
1 fs. Results: value and standard error of D in Å^2/fs (no error where the peer has none) and wall seconds of every
replica, reading of the arrays and imports left out.
"""

import json
import sys
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")
SIZE_A = 1e4
"""Cell so large that nothing wraps."""


def kinisi(paths):
    """Its default: all lags from the first interval on, GLS and Monte Carlo, error of the samples."""
    import MDAnalysis
    import scipp
    from kinisi.analyze import DiffusionAnalyzer

    n_frames, walkers, _ = paths.shape
    universe = MDAnalysis.Universe.empty(walkers, trajectory=True)
    universe.add_TopologyAttr("name", ["LI"] * walkers)
    universe.add_TopologyAttr("type", ["LI"] * walkers)
    boxes = np.tile([SIZE_A, SIZE_A, SIZE_A, 90, 90, 90], (n_frames, 1))
    universe.load_new(paths.astype(np.float32) + SIZE_A / 2, dimensions=boxes, dt=1e-3)
    analyzer = DiffusionAnalyzer.from_universe(
        universe, specie="LI", time_step=1 * scipp.Unit("fs"), step_skip=1 * scipp.Unit("dimensionless"), progress=False
    )
    analyzer.diffusion(1 * scipp.Unit("fs"), progress=False)
    scale = scipp.to_unit(scipp.scalar(1.0, unit=analyzer.D.unit), "angstrom^2/fs").value
    samples = np.asarray(analyzer.D.values) * scale
    return float(samples.mean()), float(samples.std(ddof=1))


def pymatgen(paths, smoothed="max"):
    """Its default, smoothed, with frames 1 ps apart, since it looks at no lag below that; its own error."""
    from pymatgen.analysis.diffusion.analyzer import DiffusionAnalyzer
    from pymatgen.core import Lattice, Structure

    n_frames, walkers, _ = paths.shape
    symbols, start = ["Li"] * walkers + ["O"], np.concatenate([paths[0], np.zeros((1, 3))])
    structure = Structure(Lattice.cubic(SIZE_A), symbols, start + 1.0, coords_are_cartesian=True)
    moved = np.concatenate([paths - paths[0], np.zeros((n_frames, 1, 3))], axis=1).transpose(1, 0, 2)
    analyzer = DiffusionAnalyzer(structure, moved, "Li", 600, 2, 500, smoothed=smoothed)
    return analyzer.diffusivity * 1e4, analyzer.diffusivity_std_dev * 1e4  # cm^2/s at 1 ps to Å^2/fs at 1 fs


def tidynamics(paths):
    """MDAnalysis's EinsteinMSD works with it: FFT of each particle, then a line through the middle of the lags."""
    from tidynamics import msd

    curve = np.mean([msd(paths[:, p]) for p in range(paths.shape[1])], axis=0)
    lags = np.arange(len(curve))
    window = slice(len(curve) // 10, len(curve) // 2)
    return float(np.polyfit(lags[window], curve[window], 1)[0] / 6), None


PEERS = {
    "kinisi": kinisi,
    "pymatgen": pymatgen,
    "pymatgen-unsmoothed": lambda paths: pymatgen(paths, smoothed=False),
    "tidynamics": tidynamics,
}


def main():
    """Run one peer on all replicas."""
    name, source, target = sys.argv[1:4]
    walks = np.load(source)
    PEERS[name](walks[0])  # imports and compilation
    rows = []
    for paths in walks:
        began = time.perf_counter()
        value, error = PEERS[name](paths)
        rows.append({"value": value, "standard_error": error, "seconds": time.perf_counter() - began})
    with open(target, "w") as handle:
        json.dump(rows, handle)


if __name__ == "__main__":
    main()
