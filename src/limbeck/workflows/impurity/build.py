"""From settings to a model."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.errors import ConfigError
from limbeck.core.units import HARTREE
from limbeck.impurity.bath import semicircle
from limbeck.impurity.fcidump import read_fcidump
from limbeck.impurity.interaction import (
    density_density,
    half_filled_level,
    kanamori,
    real_harmonics,
    rotated,
    slater,
)
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.workflows.impurity.baths import FoundBath, bath_from_file, bath_of_lattice, fitted_bath
from limbeck.workflows.impurity.config import (
    DensitySettings,
    FileBathSettings,
    ImpuritySettings,
    KanamoriSettings,
    LevelsSettings,
    SemicircleSettings,
    SlaterSettings,
)
from limbeck.workflows.impurity.inputs import DumpSettings, MatsubaraSettings, WannierSettings


@dataclass(frozen=True)
class Built:
    """A model, and what its sources say beside it.

    Attributes:
        model: The model, eV.
        origin: Errors of a fit, constant energy of a file: for the record.
    """

    model: ImpurityModel
    origin: dict[str, Any] = field(default_factory=dict)


def built(settings: ImpuritySettings) -> Built:
    """The model that the settings describe.

    Raises:
        ConfigError: If numbers of orbitals, levels or couplings do not fit together, or a file is malformed.
        MissingFileError: If a file is not there.
    """
    if settings.fcidump is not None:
        return _from_dump(settings.fcidump)
    m = settings.orbitals
    tensor = interaction_of(settings)
    bath = found_bath(settings)
    level = half_filled_level(tensor) if settings.level_eV is None else settings.level_eV
    levels = np.full(m, level) if isinstance(level, int | float) else np.array(level, dtype=float)
    if len(levels) != m:
        raise ConfigError(f"level_eV has {len(levels)} values for {m} orbitals")
    electrons = bath.electrons if settings.electrons is None else settings.electrons
    h = np.diag(levels) + (0.0 if bath.levels is None else bath.levels)
    return Built(anderson(h, bath.energies, bath.couplings, tensor, electrons, settings.spin_2z), bath.origin)


def model_of(settings: ImpuritySettings) -> ImpurityModel:
    """The model alone; see :func:`built`."""
    return built(settings).model


def _from_dump(given: DumpSettings) -> Built:
    found = read_fcidump(Path(given.path), given.correlated)
    unit = HARTREE if given.unit == "hartree" else 1.0
    model = replace(found.model, one_body=unit * found.model.one_body, interaction=unit * found.model.interaction)
    return Built(model, {"constant_eV": unit * found.constant, "orbitals_of_the_file": found.orbitals})


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
    bath = found_bath(settings)
    return bath.energies, bath.couplings


def found_bath(settings: ImpuritySettings) -> FoundBath:
    """Bath of the settings, whatever it is made of."""
    m, given = settings.orbitals, settings.bath
    if isinstance(given, FileBathSettings):
        return bath_from_file(given, m)
    if isinstance(given, MatsubaraSettings):
        return fitted_bath(given, m)
    if isinstance(given, WannierSettings):
        return bath_of_lattice(given, m)
    if isinstance(given, LevelsSettings):
        energies, couplings = np.array(given.energies_eV), given.couplings_eV
        if len(couplings) != m or any(len(row) != len(energies) for row in couplings):
            raise ConfigError(
                f"couplings_eV needs {m} lists (one an orbital) of {len(energies)} numbers (one a level), got lists of "
                f"{[len(row) for row in couplings]}"
            )
        return FoundBath.half_filled(energies, np.array(couplings, dtype=float))
    assert isinstance(given, SemicircleSettings)
    one, v = semicircle(given.sites, given.half_bandwidth_eV, given.total_eV2)
    return FoundBath.half_filled(np.tile(one, m), np.kron(np.eye(m), v))
