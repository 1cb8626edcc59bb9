"""From settings to a model."""

from pathlib import Path

import numpy as np

from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.impurity.bath import semicircle, windows
from limbeck.impurity.interaction import (
    density_density,
    half_filled_level,
    kanamori,
    real_harmonics,
    rotated,
    slater,
)
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.workflows.impurity.config import (
    DensitySettings,
    FileBathSettings,
    ImpuritySettings,
    KanamoriSettings,
    LevelsSettings,
    SemicircleSettings,
    SlaterSettings,
)


def model_of(settings: ImpuritySettings) -> ImpurityModel:
    """The model that the settings describe.

    Raises:
        ConfigError: If numbers of orbitals, levels or couplings do not fit together.
        MissingFileError: If the file of the bath is not there.
    """
    m = settings.orbitals
    tensor = interaction_of(settings)
    energies, couplings = bath_of(settings)
    level = half_filled_level(tensor) if settings.level_eV is None else settings.level_eV
    levels = np.full(m, level) if isinstance(level, int | float) else np.array(level, dtype=float)
    if len(levels) != m:
        raise ConfigError(f"level_eV has {len(levels)} values for {m} orbitals")
    electrons = m + len(energies) if settings.electrons is None else settings.electrons
    return anderson(np.diag(levels), energies, couplings, tensor, electrons, settings.spin_2z)


def interaction_of(settings: ImpuritySettings) -> "np.ndarray":
    """Tensor of the interaction."""
    m, given = settings.orbitals, settings.interaction
    if isinstance(given, KanamoriSettings):
        return kanamori(m, given.U_eV, given.J_eV, given.U_prime_eV)
    if isinstance(given, DensitySettings):
        return density_density(m, given.U_eV, given.J_eV)
    assert isinstance(given, SlaterSettings)
    if m not in (3, 5, 7):
        raise ConfigError(f"a Slater interaction is that of a whole shell: 3, 5 or 7 orbitals, not {m}")
    ell = (m - 1) // 2
    integrals = {0: given.F0_eV, 2: given.F2_eV, 4: given.F4_eV, 6: given.F6_eV}
    tensor = rotated(
        slater(ell, {k: v for k, v in integrals.items() if k <= 2 * ell}), np.kron(real_harmonics(ell), np.eye(2))
    )
    assert np.abs(tensor.imag).max() < 1e-10
    return np.asarray(np.where(np.abs(tensor.real) > 1e-12, tensor.real, 0.0))


def bath_of(settings: ImpuritySettings) -> tuple["np.ndarray", "np.ndarray"]:
    """Energies and couplings (orbitals, levels)."""
    m, given = settings.orbitals, settings.bath
    if isinstance(given, LevelsSettings):
        energies, couplings = np.array(given.energies_eV), given.couplings_eV
        if len(couplings) != m or any(len(row) != len(energies) for row in couplings):
            raise ConfigError(
                f"couplings_eV needs {m} lists (one an orbital) of {len(energies)} numbers (one a level), got lists of "
                f"{[len(row) for row in couplings]}"
            )
        return energies, np.array(couplings, dtype=float)
    if isinstance(given, SemicircleSettings):
        one, v = semicircle(given.sites, given.half_bandwidth_eV, given.total_eV2)
    else:
        one, v = _from_file(given)
    return np.tile(one, m), np.kron(np.eye(m), v)


def _from_file(given: FileBathSettings) -> tuple["np.ndarray", "np.ndarray"]:
    path = Path(given.path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file (bath.path)")
    try:
        table = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise ConfigError(f"{path}: not two columns of numbers ({error})") from error
    if table.shape[1] != 2 or len(table) < 3 or not np.all(np.isfinite(table)):
        raise ConfigError(f"{path}: expected two columns of finite numbers, three rows or more, got {table.shape}")
    energy, gamma = table.T
    if np.any(np.diff(energy) <= 0) or np.any(gamma < 0):
        raise ConfigError(f"{path}: energies must increase, and Gamma = -Im Delta must not be negative")
    return windows(energy, gamma / np.pi, given.sites)
