"""Ground state of a configured model as a matrix product state, and what is told of it."""

from typing import Any

from limbeck.core.errors import ConfigError
from limbeck.core.progress import Reporter
from limbeck.impurity.dmrg import COMPARED, DmrgState, dmrg_state, require_block2
from limbeck.impurity.orbitals import NaturalOrbitals
from limbeck.impurity.selected_ci import correlated_basis
from limbeck.workflows.impurity.config import GroundSettings

LEAST_WEIGHT = 0.999
"""Weight of the state on the configurations that are kept, below which spectra are warned of."""


def dmrg_ground(basis: NaturalOrbitals, wanted: GroundSettings, say: Reporter) -> DmrgState:
    """Sweep in natural orbitals.

    Args:
        basis: Natural orbitals of the mean field.
        wanted: Settings.
        say: Shows the progress.

    Raises:
        ConfigError: If another basis than natural orbitals is asked for.
    """
    if wanted.basis != "natural":
        raise ConfigError(f"ground_state.basis {wanted.basis}: the chain is made of natural orbitals; leave it out")
    given = wanted.dmrg
    require_block2(given.python)
    basis = correlated_basis(basis, wanted.rounds, wanted.round_configurations)
    done = 0
    with say.bar("bond dimensions", float(len(given.bond_dimensions)), "") as bar:

        def tell(bond: int, energy: float) -> None:
            nonlocal done
            done += 1
            bar.set(float(done), f"m {bond}, E {energy:.8f}")

        return dmrg_state(
            basis, given.bond_dimensions, wanted.configurations, sweeps=given.sweeps, python=given.python,
            memory_GB=given.memory_GB, tell=tell,
        )  # fmt: skip


def described_dmrg(state: DmrgState) -> dict[str, Any]:
    """What results, terminal and page say of a matrix product state."""
    value, error = state.extrapolated
    return {
        "energy_eV": state.energy, "variance_eV2": state.variance, "symmetry": state.symmetry,
        "extrapolated_eV": {"value": value, "standard_error": error}, "weight": state.weight,
        "bonds": [
            {"bond": b.bond, "energy_eV": b.energy, "discarded": b.discarded, "sweeps": b.sweeps, "cpu_s": b.cpu_s,
             "stands": b.stands}
            for b in state.bonds
        ],
        "compared_eV": state.compared, "is_stuck": state.is_stuck, "cpu_s": state.cpu_s,
    }  # fmt: skip


def dmrg_warnings(part: dict[str, Any]) -> list[str]:
    """What is odd about it."""
    found = []
    if part["is_stuck"]:
        found.append(
            f"the matrix product state lies {part['energy_eV'] - part['compared_eV']:.2g} eV above {COMPARED} selected "
            "configurations: it is stuck, or needs larger ground_state.dmrg.bond_dimensions"
        )
    moving = [str(b["bond"]) for b in part["bonds"] if not b["stands"]]
    if moving:
        found.append(
            f"the energy still moved after the last sweep at bond dimension {', '.join(moving)}: raise "
            "ground_state.dmrg.sweeps"
        )
    if part["weight"] < LEAST_WEIGHT:
        found.append(
            f"the configurations that are kept hold {100 * part['weight']:.2f} % of the matrix product state, and "
            "everything but its own energy comes from them: raise ground_state.configurations"
        )
    return found
