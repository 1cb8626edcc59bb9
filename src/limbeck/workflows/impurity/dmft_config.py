"""Configuration of a DMFT loop."""

from typing import Annotated, Literal

from pydantic import Field

from limbeck.core.config import Settings


class DmftSettings(Settings):
    """Self-consistency on the Bethe lattice: 'bath' is a semicircle then, D its half bandwidth, 'sites' the levels."""

    start: Literal["metal", "insulator"] = "metal"
    """First self-energy: only the static one, or that of the atom. Between U_c1 and U_c2 they end differently."""
    iterations: int = Field(default=30, ge=1, le=1000)
    """The loop ends with this one at the latest."""
    tolerance: Annotated[float, Field(gt=0)] = 0.01
    """The loop ends where Delta, at the broadening of the spectrum, changes by less than this, in units of D."""
    mixing: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Share of the new self-energy."""
    filling: Annotated[float, Field(gt=0)] | None = None
    """Electrons of a lattice site; left out: half filled by symmetry."""
