"""Baths from files: windows on the real axis, fits on the imaginary one, orbitals of a lattice."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.errors import ConfigError
from limbeck.impurity.bath import matrix_windows, window_edges, windows
from limbeck.impurity.bath_fit import BathFit, converged_bath, fit_matsubara
from limbeck.impurity.formats import read_hybridization, read_table, read_wannier90
from limbeck.impurity.lattice import bloch, local_hamiltonian, local_hybridization, matsubara, mesh
from limbeck.workflows.impurity.config import FileBathSettings
from limbeck.workflows.impurity.inputs import FittedSettings, MatsubaraSettings, WannierSettings

HIGHEST = 3.0
"""Highest Matsubara frequency of a fit to a lattice, in units of its largest energy."""


@dataclass(frozen=True)
class FoundBath:
    """A bath and what is known beside it.

    Attributes:
        energies: (n_bath,), eV.
        couplings: (m, n_bath), eV.
        electrons: Electrons in all that are taken where none are given.
        levels: (m, m) local Hamiltonian of a lattice; ``None`` where the settings alone give it.
        origin: Errors of a fit, for the record.
    """

    energies: "np.ndarray"
    couplings: "np.ndarray"
    electrons: int
    levels: "np.ndarray | None" = None
    origin: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def half_filled(
        cls, energies: "np.ndarray", couplings: "np.ndarray", origin: dict[str, Any] | None = None
    ) -> "FoundBath":
        """A bath with one electron for each orbital."""
        return cls(energies, couplings, len(couplings) + len(energies), None, origin or {})


def bath_from_file(given: FileBathSettings, m: int) -> FoundBath:
    """Bath of a hybridization function on the real axis."""
    path = Path(given.path)
    table = read_table(path)
    if table.shape[1] != 2:
        energy, delta = _of_orbitals(path, m)
        energies, couplings = matrix_windows(energy, delta, window_edges(energy, delta, given.sites, given.windows))
        return FoundBath.half_filled(energies, couplings)
    if len(table) < 3:
        raise ConfigError(f"{path}: {len(table)} lines; three at least")
    energy, gamma = table.T
    if np.any(np.diff(energy) <= 0) or np.any(gamma < 0):
        raise ConfigError(f"{path}: energies must increase, and Gamma = -Im Delta must not be negative")
    if given.windows == "equal":
        one, v = windows(energy, gamma / np.pi, given.sites)
    else:
        delta = -1j * gamma[:, None, None]
        one, matrix = matrix_windows(energy, delta, window_edges(energy, delta, given.sites, given.windows))
        v = matrix[0]
    return FoundBath.half_filled(np.tile(one, m), np.kron(np.eye(m), v))


def fitted_bath(given: MatsubaraSettings, m: int) -> FoundBath:
    """Bath fitted to a hybridization function on the imaginary axis."""
    w, delta = _of_orbitals(Path(given.path), m)
    fit, origin = _fitted(given, w, delta, None)
    return FoundBath.half_filled(fit.energies, fit.couplings, origin)


def bath_of_lattice(given: WannierSettings, m: int) -> FoundBath:
    """Levels and bath of the correlated orbitals of a lattice, filled up to the Fermi energy."""
    if len(given.correlated) != m:
        raise ConfigError(f"bath.correlated names {len(given.correlated)} orbitals, but 'orbitals' is {m}")
    lattice, chosen = read_wannier90(Path(given.path)), np.array(given.correlated)
    points = mesh((given.mesh[0], given.mesh[1], given.mesh[2]))
    levels = local_hamiltonian(lattice, chosen, points, given.fermi_energy_eV)
    bands = np.linalg.eigvalsh(bloch(lattice, points)) - given.fermi_energy_eV
    w = matsubara(given.temperature_K, HIGHEST * float(np.abs(bands).max()))
    delta = local_hybridization(lattice, chosen, 1j * w, points, given.fermi_energy_eV)
    fit, origin = _fitted(given, w, delta, levels)
    if not np.any(levels.imag):
        levels = levels.real
    n = len(fit.energies)
    whole = np.zeros((m + n, m + n), np.result_type(levels, fit.couplings))
    whole[:m, :m], whole[:m, m:], whole[m:, :m] = levels, fit.couplings, fit.couplings.conj().T
    whole[np.arange(m, m + n), np.arange(m, m + n)] = fit.energies
    electrons = 2 * int(np.sum(np.linalg.eigvalsh(whole) < 0))
    return FoundBath(fit.energies, fit.couplings, electrons, levels, origin)


def _fitted(
    given: FittedSettings, w: "np.ndarray", delta: "np.ndarray", levels: "np.ndarray | None"
) -> tuple[BathFit, dict[str, Any]]:
    """Fit, and its errors for the record."""
    tried: list[tuple[int, float]] = []
    if given.tolerance is not None:
        fit, tried = converged_bath(
            w, delta, given.tolerance, levels=levels, power=given.weight_power, most=given.most_sites
        )
    else:
        assert given.sites is not None
        fit = fit_matsubara(w, delta, given.sites, levels=levels, power=given.weight_power)
    origin = {
        "bath_fit": {
            "error": fit.error, "largest_error": fit.largest_error, "error_green": fit.error_green,
            "frequencies": len(w), "lowest_eV": w[0], "highest_eV": w[-1],
            "tried": [{"sites": n, "error": error} for n, error in tried],
        }
    }  # fmt: skip
    return fit, origin


def _of_orbitals(path: Path, m: int) -> tuple["np.ndarray", "np.ndarray"]:
    """Frequencies and matrices of a file; one element is the same for every orbital."""
    x, delta = read_hybridization(path)
    if delta.shape[1] == 1 and m > 1:
        delta = delta * np.eye(m)
    if delta.shape[1] != m:
        raise ConfigError(
            f"{path}: Delta of {delta.shape[1]} orbitals, but 'orbitals' is {m}: expected 3 or {1 + 2 * m * m} columns"
        )
    return x, delta
