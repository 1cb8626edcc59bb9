"""Configuration of what comes from files: hybridization functions, Wannier functions, whole models."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from limbeck.core.config import Settings

Positive = Annotated[float, Field(gt=0)]


class FittedSettings(Settings):
    """How a bath is fitted on the imaginary axis."""

    sites: int | None = Field(default=None, ge=1, le=60)
    """Bath levels of each orbital; orbitals that the hybridization connects share theirs."""
    tolerance: Positive | None = None
    """In place of sites: the smallest bath whose relative errors of Delta and of G0 are both below this."""
    most_sites: int = Field(default=12, ge=1, le=60)
    """Levels of each orbital up to which the tolerance is tried."""
    weight_power: float = Field(default=1.0, ge=0, le=4)
    """Deviations are weighted by the frequency to this power, inverted: more for the low ones."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "FittedSettings":
        if (self.sites is None) == (self.tolerance is None):
            raise ValueError("give either sites or tolerance")
        return self


class MatsubaraSettings(FittedSettings):
    """A hybridization function on the imaginary axis in a file: frequency, then Re, Im of each element, in eV."""

    kind: Literal["matsubara"] = "matsubara"
    path: str = Field(min_length=1)
    """The file, relative to the configuration: 3 columns (the same for every orbital) or 1 + 2 m^2 for m orbitals."""


class WannierSettings(FittedSettings):
    """Levels and bath of some orbitals of a lattice: Wannier90's *_hr.dat on a mesh of k points."""

    kind: Literal["wannier90"] = "wannier90"
    path: str = Field(min_length=1)
    """The *_hr.dat file, relative to the configuration."""
    correlated: list[int] = Field(min_length=1, max_length=7)
    """Numbers of the correlated orbitals in the file, from 0; as many as 'orbitals'."""
    mesh: list[Annotated[int, Field(ge=1, le=400)]] = Field(min_length=3, max_length=3)
    """Divisions of the mesh of k points."""
    fermi_energy_eV: float = 0.0
    """Fermi energy of the calculation that the file is from."""
    temperature_K: Positive = 300.0
    """The fit is made at the Matsubara frequencies of this temperature."""


class DumpSettings(Settings):
    """A whole model from a FCIDUMP file."""

    path: str = Field(min_length=1)
    """The file, relative to the configuration."""
    correlated: list[int] | None = None
    """Numbers of the interacting orbitals in the file, from 0; left out: those that have a two-body integral."""
    unit: Literal["hartree", "eV"] = "hartree"
    """Unit of the file's energies."""
