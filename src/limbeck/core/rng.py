"""Named random streams from one root seed. Nothing is seeded globally; functions take ``rng`` explicitly."""

import hashlib

import numpy as np


def _entropy(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Random generator that depends on the root seed and on the stream's name only.

    Args:
        seed: Root seed of the run.
        names: What the stream is for, for example ``stream(7, "explore", 0, "trajectory", 3)``.

    Returns:
        An independent PCG64 generator. Adding a stream elsewhere never shifts this one.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *(_entropy(str(n)) for n in names)])))


def integer_seed(seed: int, *names: str | int) -> int:
    """Seed in [1, 2^31 - 1) for engines that take an integer (torch, LAMMPS, ``fitpod``)."""
    return int(stream(seed, *names).integers(1, 2**31 - 1))
