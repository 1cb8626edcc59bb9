"""Ground state of a configured model as a network, and what is told of it."""

from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.errors import ConfigError
from limbeck.core.progress import Reporter
from limbeck.impurity.network import Architecture
from limbeck.impurity.network_problem import problem
from limbeck.impurity.network_state import NetworkState, network_state
from limbeck.impurity.orbitals import NaturalOrbitals
from limbeck.workflows.impurity.config import GroundSettings

PARAMETERS = "network.npz"


def network_ground(basis: NaturalOrbitals, wanted: GroundSettings, folder: Path, say: Reporter) -> NetworkState:
    """Train a network; its parameters go to ``network.npz``.

    Args:
        basis: Natural orbitals of the mean field.
        wanted: Settings.
        folder: Of the results.
        say: Shows the progress.

    Raises:
        ConfigError: If another basis than natural orbitals is asked for, or sizes do not fit.
    """
    if wanted.basis != "natural":
        raise ConfigError(f"ground_state.basis {wanted.basis}: a network is made for natural orbitals; leave it out")
    given = wanted.network
    architecture = Architecture(given.width, given.layers, given.heads, given.feed_forward)
    first = min(wanted.configurations, given.first_configurations)
    model = problem(basis, wanted.rounds, wanted.round_configurations, first=first)
    state = network_state(
        model, architecture, wanted.configurations, steps=given.steps, boundary=given.boundary,
        rng=np.random.default_rng(given.seed), reporter=say,
    )  # fmt: skip
    np.savez(
        folder / PARAMETERS, parameters=state.amplitudes.parameters, orbitals=model.basis.orbitals,
        width=given.width, layers=given.layers, heads=given.heads, feed_forward=given.feed_forward,
    )  # fmt: skip
    return state


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
