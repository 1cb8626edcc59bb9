"""Conversions at the boundary: ASE units inside (eV, Å, amu, e), unit-suffixed names outside.

Times inside follow ASE (1 ASE time unit = Å sqrt(amu/eV) ≈ 10.18 fs); every name that crosses a config,
command-line or file boundary carries its unit (``timestep_fs``, ``pressure_GPa``).
"""

from ase import units as ase_units

FS: float = ase_units.fs
"""One femtosecond in ASE time units."""

GPA: float = ase_units.GPa
"""One gigapascal in eV/Å^3."""

KB: float = ase_units.kB
"""Boltzmann constant in eV/K."""

HARTREE: float = ase_units.Hartree
"""One hartree in eV."""

THZ_PER_INVERSE_CM: float = 0.0299792458
"""Terahertz per inverse centimeter."""


def gpa_to_ev_per_a3(pressure_GPa: float) -> float:
    """Pressure or stress in eV/Å^3 from gigapascal."""
    return pressure_GPa * GPA


def ev_per_a3_to_gpa(stress: float) -> float:
    """Pressure or stress in GPa from eV/Å^3."""
    return stress / GPA
