"""Ground state of a configured model as a network, and what is told of it.

A training that is killed goes on: where it stands is kept in a file beside the results, which goes when they are there.
"""

import io
import json
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.core.progress import Reporter
from limbeck.core.record import canonical_json, write_bytes
from limbeck.impurity.network import Architecture
from limbeck.impurity.network_problem import problem
from limbeck.impurity.network_state import NetworkState, Progress, Round, network_state
from limbeck.impurity.orbitals import NaturalOrbitals
from limbeck.impurity.training import Descent
from limbeck.workflows.impurity.config import GroundSettings

PARAMETERS, UNFINISHED = "network.npz", "network-unfinished.npz"
UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile)
"""What NumPy says of files that are damaged or something else."""
FORMAT = 1
"""Of the file of an unfinished training."""
KEEP_EVERY_S = 10.0
"""Seconds between two writings of an unfinished training."""


def network_ground(
    basis: NaturalOrbitals, wanted: GroundSettings, folder: Path, say: Reporter, key: str = ""
) -> NetworkState:
    """Train a network; its parameters go to ``network.npz``. An interrupted training of the same key goes on.

    Args:
        basis: Natural orbitals of the mean field.
        wanted: Settings.
        folder: Of the results.
        say: Shows the progress.
        key: Of the run.

    Raises:
        MissingFileError: If the parameters to start from are not there.
        ConfigError: If they are those of another network, another basis than natural orbitals is asked for, or sizes do
            not fit.
    """
    if wanted.basis != "natural":
        raise ConfigError(f"ground_state.basis {wanted.basis}: a network is made for natural orbitals; leave it out")
    given = wanted.network
    architecture = Architecture(given.width, given.layers, given.heads, given.feed_forward)
    first = min(wanted.configurations, given.first_configurations)
    model = problem(basis, wanted.rounds, wanted.round_configurations, first=first)
    if given.start is not None and Path(given.start).resolve() == (folder / PARAMETERS).resolve():
        raise ConfigError(
            f"ground_state.network.start is {given.start}, which this run would replace: give the run another name"
        )
    store = _Store(folder / UNFINISHED, key, say)
    state = network_state(
        model, architecture, wanted.configurations, steps=given.steps, boundary=given.boundary,
        start=None if given.start is None else _start(Path(given.start), architecture),
        rng=np.random.default_rng(given.seed), reporter=say, keep=store.keep, begun=store.read(),
    )  # fmt: skip
    buffer = io.BytesIO()
    np.savez(
        buffer, parameters=state.amplitudes.parameters, orbitals=model.basis.orbitals, **asdict(architecture)
    )  # fmt: skip
    write_bytes(folder / PARAMETERS, buffer.getvalue())
    return state


def _start(path: Path, architecture: Architecture) -> "np.ndarray":
    """Parameters of an earlier run's file."""
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file (ground_state.network.start)")
    try:
        with np.load(io.BytesIO(path.read_bytes())) as data:
            sizes = {name: int(data[name]) for name in asdict(architecture)}
            parameters = np.array(data["parameters"], dtype=float)
    except UNREADABLE as error:
        raise ConfigError(f"{path} is no network.npz of an earlier run: {error}") from error
    if sizes != asdict(architecture):
        raise ConfigError(f"{path} holds a network of {sizes}, the file asks for {asdict(architecture)}")
    if not np.all(np.isfinite(parameters)):
        raise ConfigError(f"{path} holds parameters that are NaN or infinite")
    return parameters


class _Store:
    """Where an unfinished training is kept."""

    def __init__(self, path: Path, key: str, say: Reporter) -> None:
        self._path, self._key, self._last, self._say = path, f"{FORMAT} {key}", 0.0, say

    def keep(self, now: Progress) -> None:
        """Write it, but not more often than every few seconds."""
        if time.monotonic() - self._last < KEEP_EVERY_S:
            return
        arrays: dict[str, Any] = {
            "rows": now.rows, "fit_steps": now.fit_steps,
            "text": canonical_json({"key": self._key, "random": now.random, "rounds": now.rounds}),
        }  # fmt: skip
        if now.parameters is not None:
            arrays["parameters"] = now.parameters
        if now.descent is not None:
            arrays |= {"energies": now.descent.energies, "damping": now.descent.damping}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_bytes(self._path, buffer.getvalue())
        self._last = time.monotonic()

    def read(self) -> Progress | None:
        """What was kept last; ``None`` where there is nothing that can be read, or another run's."""
        if not self._path.is_file():
            return None
        try:
            return self._read()
        except UNREADABLE as error:
            self._say.message(f"{self._path} cannot be read ({error}); training begins anew")
            return None

    def _read(self) -> Progress | None:
        with np.load(io.BytesIO(self._path.read_bytes())) as data:
            text = json.loads(str(data["text"]))
            if text["key"] != self._key:
                return None
            parameters = data.get("parameters")
            descent = None
            if parameters is not None and "energies" in data:
                descent = Descent(parameters, data["energies"], float(data["damping"]))
            rounds = tuple(Round(**{**r, "energies": tuple(r["energies"])}) for r in text["rounds"])
            return Progress(data["rows"], parameters, rounds, int(data["fit_steps"]), descent, text["random"])


def described_network(state: NetworkState) -> dict[str, Any]:
    """What results, terminal and page say of a network."""
    beyond = state.beyond
    found: dict[str, Any] = {
        "parameters": state.n_parameters,
        "amplitudes": state.rounds[-1].n_orbits,
        "symmetries": len(state.problem.group),
        "set_energy_eV": state.subspace_energy,
        "variance_inside_eV2": state.variance_inside,
        "rounds": [
            {"configurations": r.n, "amplitudes": r.n_orbits, "energy_eV": r.energy, "set_energy_eV": r.subspace_energy,
             "fit_steps": r.fit_steps, "energies_eV": r.energies, "lowest_eV": r.lowest}
            for r in state.rounds
        ],
    }  # fmt: skip
    if beyond is not None:
        found["outside"] = {
            "configurations": beyond.n, "size_correlation": beyond.size_correlation, "right_signs": beyond.right_signs,
            "missing": beyond.missing, "energy_eV": beyond.energy, "exact_energy_eV": beyond.exact_energy,
        }  # fmt: skip
    return found
