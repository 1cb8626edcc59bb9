"""Slater integrals and spin-orbit constants of a configured ion: those of the file, the table of atoms for the rest."""

from dataclasses import dataclass

from limbeck.core.errors import ConfigError
from limbeck.impurity.atomic import AtomicParameters, DShell, atomic_parameters
from limbeck.workflows.impurity.core_config import CoreLevelSettings

ION_FACTOR = 0.8
"""Slater integrals of solids over those of Hartree-Fock for the free ion, by custom."""
EMPTY = DShell({2: 0.0, 4: 0.0}, 0.0)
NOTHING = AtomicParameters("", "", "", 0, EMPTY, EMPTY, {2: 0.0}, {1: 0.0, 3: 0.0}, 0.0)


@dataclass(frozen=True)
class Parameters:
    """What the Hamiltonian is made of, eV; Slater integrals are multiplied by their factor already.

    Attributes:
        electrons: Of the d shell.
        before: The d shell.
        after: The d shell while there is a core hole.
        direct: F^2 between core and d shell.
        exchange: G^1 and G^3 between them.
        core_spin_orbit: zeta of the core.
        slater_factor: What they were multiplied by.
    """

    electrons: int
    before: DShell
    after: DShell
    direct: dict[int, float]
    exchange: dict[int, float]
    core_spin_orbit: float
    slater_factor: float

    @property
    def table(self) -> list[tuple[str, float]]:
        """Names and values for reading."""
        rows = [
            ("F2(d,d)", self.before.integrals[2]), ("F4(d,d)", self.before.integrals[4]),
            ("zeta(d)", self.before.spin_orbit),
        ]  # fmt: skip
        if self.after != self.before:
            rows += [
                ("F2(d,d) with hole", self.after.integrals[2]), ("F4(d,d) with hole", self.after.integrals[4]),
                ("zeta(d) with hole", self.after.spin_orbit),
            ]  # fmt: skip
        return [
            *rows, ("F2(core,d)", self.direct[2]), ("G1(core,d)", self.exchange[1]), ("G3(core,d)", self.exchange[3]),
            ("zeta(core)", self.core_spin_orbit),
        ]  # fmt: skip


def parameters_of(settings: CoreLevelSettings) -> Parameters:
    """Parameters of the file, and of the ion where the file leaves them out.

    A value of the file for the d shell holds with a core hole, too, unless the file gives another one for that.

    Raises:
        ConfigError: If the table does not have the ion, or it has another number of electrons than the file says.
    """
    d, core, atom = settings.shell, settings.core, NOTHING
    if settings.ion is not None:
        atom = atomic_parameters(settings.ion, core.shell)
        if d.electrons not in (None, atom.electrons):
            raise ConfigError(f"{settings.ion} has {atom.electrons} d electrons, shell.electrons says {d.electrons}")
    factor = settings.slater_factor or (1.0 if settings.ion is None else ION_FACTOR)

    def shell(f2: float, f4: float, zeta: float) -> DShell:
        return DShell({2: factor * f2, 4: factor * f4}, zeta)

    before, after = atom.before, atom.after
    return Parameters(
        atom.electrons if d.electrons is None else d.electrons,
        shell(
            _first(d.F2_eV, before.integrals[2]), _first(d.F4_eV, before.integrals[4]),
            _first(d.spin_orbit_eV, before.spin_orbit),
        ),
        shell(
            _first(d.F2_with_hole_eV, d.F2_eV, after.integrals[2]),
            _first(d.F4_with_hole_eV, d.F4_eV, after.integrals[4]),
            _first(d.spin_orbit_with_hole_eV, d.spin_orbit_eV, after.spin_orbit),
        ),
        {2: factor * _first(core.F2_eV, atom.direct[2])},
        {1: factor * _first(core.G1_eV, atom.exchange[1]), 3: factor * _first(core.G3_eV, atom.exchange[3])},
        _first(core.spin_orbit_eV, atom.core_spin_orbit),
        factor,
    )  # fmt: skip


def _first(*values: float | None) -> float:
    return next(x for x in values if x is not None)
