"""Configuration of a diffusion analysis: several runs at several temperatures in one file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from limbeck.core.config import Settings
from limbeck.observables.diffusion.errors import ErrorKind
from limbeck.observables.diffusion.hops import HOP_LENGTH_A
from limbeck.observables.diffusion.walk import FitKind

Positive = Annotated[float, Field(gt=0)]


class SourceSettings(Settings):
    """One trajectory."""

    path: str = Field(min_length=1)
    """Trajectory file, or the folder of a run of limbeck; relative to the configuration file."""
    temperature_K: Positive | None = None
    """Temperature; known for runs of limbeck, needed for conductivity and Arrhenius."""
    interval_fs: Positive | None = None
    """Time between frames, where the file does not hold it."""
    timestep_fs: Positive | None = None
    """Time step of the run behind a LAMMPS dump."""
    elements: list[str] = []
    """Elements of the types of a LAMMPS dump, in order."""
    structure: str | None = None
    """Structure with the same atoms, for files without elements (XTC, TRR, DCD, NetCDF, npy) or cell (XYZ)."""
    is_unwrapped: bool = False
    """Positions of XTC, TRR, DCD, NetCDF or npy are unwrapped already."""
    skip_fs: float = Field(default=0.0, ge=0)
    """Time at the beginning that is left out."""
    every: int = Field(default=1, ge=1)
    """Use every n-th frame (all are unwrapped)."""


class AnalysisSettings(Settings):
    """What to look for; the same for all runs."""

    species: list[str] = Field(min_length=1)
    """Mobile species."""
    charges: dict[str, float] = {}
    """Charge of each in elementary charges; usual ones are known."""
    reference: Literal["host", "total", "none"] | None = None
    """What displacements are relative to: the center of mass of all other species, of all atoms, or nothing. Left out:
    the host where there is one."""
    window_fs: list[Positive] | None = Field(default=None, min_length=2, max_length=2)
    """First and last lag of the fit; chosen where left out."""
    line: FitKind = "generalized"
    """Least squares of the line; ordinary is the customary one, for comparison."""
    errors: ErrorKind = "automatic"
    """Which error counts: that of the covariance of random walks, of blocks of particles, of time, or of both together.
    Automatic takes the one that holds."""
    hop_length_A: float = Field(default=HOP_LENGTH_A, gt=0)
    """Displacement that counts as a hop."""
    target_relative_error: float = Field(default=0.1, gt=0, lt=1)
    """Error that the forecast is for."""
    green_kubo: bool = False
    """Compare with the integral of velocities, where the trajectory holds them often enough."""
    memory_GB: float = Field(default=1.0, gt=0)
    """Paths of more than this are kept on disk."""

    @model_validator(mode="after")
    def _window_in_order(self) -> "AnalysisSettings":
        if self.window_fs is not None and self.window_fs[0] >= self.window_fs[1]:
            raise ValueError("window_fs must be the first and the last lag, in this order")
        return self


class DiffusionSettings(AnalysisSettings):
    """The whole file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name; the folder of the results is called after it."""
    title: str = ""
    """One line for the head of the report."""
    runs: list[SourceSettings] = Field(min_length=1)
    """The trajectories, at one temperature or several."""
    extrapolate_K: list[Positive] = [300.0]
    """Temperatures at which the laws are evaluated."""

    def beside(self, folder: Path) -> "DiffusionSettings":
        """The same with paths that start at a folder."""
        moved = [
            run.model_copy(update={
                "path": str(folder / run.path),
                "structure": None if run.structure is None else str(folder / run.structure),
            })
            for run in self.runs
        ]  # fmt: skip
        return self.model_copy(update={"runs": moved})
