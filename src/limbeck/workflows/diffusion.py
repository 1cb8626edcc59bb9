"""From a trajectory to diffusion coefficients and conductivity: read, unwrap, fit, say it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck.core.errors import ConfigError
from limbeck.core.record import to_jsonable
from limbeck.observables.diffusion.paths import Reference, read_paths
from limbeck.observables.diffusion.tracer import Diffusion, diffusion
from limbeck.observables.diffusion.transport import Transport, transport
from limbeck.structures.trajectory import open_trajectory

USUAL_CHARGES = {
    **dict.fromkeys(("H", "Li", "Na", "K", "Rb", "Cs", "Ag", "Cu"), 1.0),
    **dict.fromkeys(("Mg", "Ca", "Sr", "Ba", "Zn"), 2.0),
    **dict.fromkeys(("Al",), 3.0),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1.0),
    **dict.fromkeys(("O", "S", "Se"), -2.0),
}
"""Charges of ions in elementary charges that are taken where none are given; what was taken stands in the result."""


def analyze_diffusion(
    path: Path,
    species: Sequence[str],
    *,
    temperature_K: float | None = None,
    charges: Mapping[str, float] | None = None,
    reference: Reference | None = None,
    interval_fs: float | None = None,
    elements: Sequence[str] = (),
    timestep_fs: float | None = None,
) -> dict[str, Any]:
    """Diffusion of some species in one trajectory; conductivity and Haven ratio where a temperature is given.

    Args:
        path: Trajectory, see :func:`limbeck.structures.trajectory.open_trajectory`.
        species: Mobile species.
        temperature_K: Temperature of the run.
        charges: Charge of each mobile species in elementary charges; :data:`USUAL_CHARGES` where left out.
        reference: Frame of reference, see :func:`limbeck.observables.diffusion.paths.read_paths`.
        interval_fs: Time between frames, for files that do not hold times.
        elements: Symbols of LAMMPS types.
        timestep_fs: Time step of LAMMPS.

    Returns:
        Plain values with units in their names or beside them; ``None`` for an interval's end that is not there.

    Raises:
        ConfigError: If a charge is not known, or the run is too short.
        StructureError: If the trajectory cannot be used.
    """
    trajectory = open_trajectory(path, interval_fs=interval_fs, elements=elements, timestep_fs=timestep_fs)
    paths = read_paths(trajectory, species, reference)
    found: dict[str, Any] = {
        "trajectory": str(path),
        "frames": paths.n_frames,
        "interval_fs": paths.interval_fs,
        "reference": paths.reference,
        "warnings": list(paths.warnings),
        "species": {},
    }
    try:
        if temperature_K is None:
            tracer = {s: diffusion(paths.of(s), paths.interval_fs) for s in sorted(set(paths.species))}
        else:
            taken = _charges(sorted(set(paths.species)), charges or {})
            result = transport(paths, temperature_K, taken)
            tracer = result.tracer
            found |= {"temperature_K": temperature_K, "charges_e": taken, **_conductivity(result)}
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    found["species"] = {s: _described(d, paths.species.count(s)) for s, d in tracer.items()}
    plain: dict[str, Any] = to_jsonable(found)
    return plain


def _charges(species: Sequence[str], given: Mapping[str, float]) -> dict[str, float]:
    known = USUAL_CHARGES | dict(given)
    missing = [s for s in species if s not in known]
    if missing:
        raise ConfigError(f"the charge of {', '.join(missing)} is not known: give --charge {missing[0]}=1 or the like.")
    return {s: known[s] for s in species}


def _described(found: Diffusion, n_ions: int) -> dict[str, Any]:
    low, high = found.interval(0.95)
    lags = found.window.lags
    return {
        "ions": n_ions,
        "diffusion": asdict(found.coefficient) | {"interval_95": [low, high]},
        "covariance_error_cm2_per_s": found.covariance_error,
        "independent_coordinates": found.n_coordinates,
        "vibration_A": found.amplitude_A,
        "window_fs": [float(lags[0] * found.interval_fs), float(lags[-1] * found.interval_fs)],
        "window_reason": found.window.reason,
        "is_diffusive": found.window.is_diffusive,
        "warnings": list(found.warnings),
    }


def _conductivity(found: Transport) -> dict[str, Any]:
    return {
        "conductivity": asdict(found.conductivity) | {"interval_95": list(found.conductivity_interval(0.95))},
        "nernst_einstein": asdict(found.nernst_einstein),
        "haven_ratio": asdict(found.haven_ratio) | {"interval_95": list(found.haven_interval(0.95))},
        "charge_warnings": list(found.charge.warnings),
    }


def show_diffusion(found: dict[str, Any]) -> str:
    """The result for reading."""
    span_ps = (found["frames"] - 1) * found["interval_fs"] / 1e3
    lines = [f"{found['trajectory']}: {found['frames']} frames, {span_ps:g} ps, relative to {_frame(found)}", ""]
    for symbol, row in found["species"].items():
        first, last = (f"{t / 1e3:g}" for t in row["window_fs"])
        lines += [
            f"{symbol} ({row['ions']} ions)",
            f"  D               {_with_interval(row['diffusion'])}",
            f"  error from      {row['diffusion']['method']}",
            f"                  (of independent walks: {row['covariance_error_cm2_per_s']:.2g} cm^2/s)",
            f"  window          {first} to {last} ps: {row['window_reason']}",
            *(f"  warning         {w}" for w in row["warnings"]),
            "",
        ]
    if "conductivity" in found:
        charges = ", ".join(f"{s} {q:+g}" for s, q in found["charges_e"].items())
        lines += [
            f"charge at {found['temperature_K']:g} K ({charges})",
            f"  conductivity    {_with_interval(found['conductivity'])}",
            f"  if independent  {found['nernst_einstein']['value']:.4g} mS/cm",
            f"  Haven ratio     {_with_interval(found['haven_ratio'])}",
            *(f"  warning         {w}" for w in found["charge_warnings"]),
            "",
        ]
    return "\n".join([*lines, *(f"warning: {w}" for w in found["warnings"])]).rstrip()


def _frame(found: dict[str, Any]) -> str:
    return {"host": "the host's center of mass", "total": "the center of mass", "none": "nothing"}[found["reference"]]


def _with_interval(row: dict[str, Any]) -> str:
    low, high = ("no bound" if end is None else f"{end:.4g}" for end in row["interval_95"])
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    return f"{row['value']:.4g} ± {row['standard_error']:.2g}{unit}   95 %: {low} to {high}"
