"""One trajectory: from the file to plain values with their intervals, their reasons and their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.errors import ConfigError, LimbeckError, MissingFileError
from limbeck.core.progress import Reporter
from limbeck.core.record import read_json, to_jsonable
from limbeck.observables.diffusion.diagnosis import diagnose
from limbeck.observables.diffusion.forecast import forecast
from limbeck.observables.diffusion.green_kubo import green_kubo
from limbeck.observables.diffusion.paths import Paths, read_paths, read_velocities
from limbeck.observables.diffusion.tracer import Diffusion, diffusion, diffusion_tensor
from limbeck.observables.diffusion.transport import Transport, transport
from limbeck.structures.chunks import Trajectory
from limbeck.structures.trajectory import open_trajectory
from limbeck.workflows.diffusion.config import AnalysisSettings, SourceSettings

USUAL_CHARGES = {
    **dict.fromkeys(("H", "Li", "Na", "K", "Rb", "Cs", "Ag", "Cu"), 1.0),
    **dict.fromkeys(("Mg", "Ca", "Sr", "Ba", "Zn"), 2.0),
    **dict.fromkeys(("Al",), 3.0),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1.0),
    **dict.fromkeys(("O", "S", "Se"), -2.0),
}
"""Charges of ions in elementary charges that are taken where none are given; what was taken stands in the result."""
N_CURVE = 120
"""Points of a curve in the result, at equal ratios of the lag."""
N_WINDOW_LAGS = 20
"""Lags of a window that is given by its ends, at equal ratios."""


def analyze_run(
    source: SourceSettings,
    settings: AnalysisSettings,
    *,
    scratch: Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Diffusion of some species in one trajectory; conductivity and Haven ratio where the temperature is known.

    Args:
        source: The trajectory.
        settings: What to look for.
        scratch: Folder for paths beyond memory, see :func:`limbeck.observables.diffusion.paths.read_paths`.
        reporter: Shows the progress.

    Returns:
        Plain values with units in their names or beside them; ``None`` for an interval's end that is not there.

    Raises:
        ConfigError: If a charge is not known, or the run is too short.
        StructureError: If the trajectory cannot be used.
    """
    source = of_limbeck(source)
    unknown = sorted(set(settings.charges) - set(settings.species))
    if unknown:
        raise ConfigError(
            f"a charge is given for {', '.join(unknown)}, but the mobile species are {', '.join(settings.species)}."
        )
    trajectory = open_source(source)
    paths = read_paths(
        trajectory, settings.species, settings.reference, skip_fs=source.skip_fs, every=source.every, scratch=scratch,
        memory_GB=settings.memory_GB, reporter=reporter,
    )  # fmt: skip
    window = None if settings.window_fs is None else _lags(settings.window_fs, paths)
    options: dict[str, Any] = {
        "window": window, "hop_length_A": settings.hop_length_A, "line": settings.line, "errors": settings.errors,
    }  # fmt: skip
    found: dict[str, Any] = {
        "trajectory": source.path,
        "temperature_K": source.temperature_K,
        "frames": paths.n_frames,
        "interval_fs": paths.interval_fs,
        "length_ps": (paths.n_frames - 1) * paths.interval_fs / 1e3,
        "reference": paths.reference,
        "volume_A3": paths.volume_A3,
        "warnings": list(paths.warnings),
        "species": {},
    }
    try:
        if source.temperature_K is None:
            tracer = {s: diffusion(paths.of(s), paths.interval_fs, **options) for s in sorted(set(paths.species))}
        else:
            taken = _charges(sorted(set(paths.species)), settings.charges)
            result = transport(paths, source.temperature_K, taken, **options)
            tracer = result.tracer
            found |= {"charges_e": taken, **_conductivity(result, paths, settings)}
        found["species"] = {s: _described(d, paths, settings, s) for s, d in tracer.items()}
        if settings.green_kubo:
            _add_green_kubo(found, trajectory, paths, settings, source)
    except LimbeckError:
        raise
    except ValueError as error:
        raise ConfigError(f"{source.path}: {error}") from error
    plain: dict[str, Any] = to_jsonable(found)
    return plain


def _lags(window_fs: Sequence[float], paths: Paths) -> list[int]:
    """Lags in frames of a window that is given by its ends."""
    first, last = (max(1, round(t / paths.interval_fs)) for t in window_fs)
    longest_fs = (paths.n_frames - 1) * paths.interval_fs
    lags = np.unique(np.round(np.geomspace(first, last, N_WINDOW_LAGS)).astype(int)).tolist()
    if last > paths.n_frames - 1 or len(lags) < 3:
        raise ConfigError(
            f"window_fs {window_fs[0]:g} to {window_fs[1]:g} does not fit: the run is {longest_fs:g} fs long, with a "
            f"frame every {paths.interval_fs:g} fs, and a line needs three lags."
        )
    return lags


def of_limbeck(source: SourceSettings) -> SourceSettings:
    """A source whose path is a file: for a folder of a run of limbeck, its trajectory with all that is known of it.

    Raises:
        MissingFileError: If the folder holds no finished run, or several.
    """
    folder = Path(source.path)
    if not folder.is_dir():
        return source
    records = sorted(p for p in [folder / "run.json", *folder.glob("**/70-run/**/run.json")] if p.is_file())
    if len(records) != 1:
        raise MissingFileError(
            f"{folder}: holds {'several finished runs' if records else 'no finished run'} of limbeck (run.json beside "
            "trajectory.lammpstrj); give the folder of one, or a trajectory file."
        )
    saved = read_json(records[0])
    given = source.model_dump(exclude_defaults=True)
    known = {
        "path": str(records[0].parent / "trajectory.lammpstrj"), "elements": saved["elements"],
        "timestep_fs": saved["timestep_fs"], "temperature_K": saved["settings"]["temperature_K"],
    }  # fmt: skip
    return SourceSettings(**(known | {k: v for k, v in given.items() if k != "path"}))


def open_source(source: SourceSettings) -> Trajectory:
    """The trajectory of a source."""
    return open_trajectory(
        source.path, interval_fs=source.interval_fs, elements=source.elements, timestep_fs=source.timestep_fs,
        structure=source.structure, is_unwrapped=source.is_unwrapped,
    )  # fmt: skip


def _charges(species: Sequence[str], given: Mapping[str, float]) -> dict[str, float]:
    known = USUAL_CHARGES | dict(given)
    missing = [s for s in species if s not in known]
    if missing:
        raise ConfigError(f"the charge of {', '.join(missing)} is not known: give --charge {missing[0]}=1 or the like.")
    return {s: known[s] for s in species}


def _described(found: Diffusion, paths: Paths, settings: AnalysisSettings, symbol: str) -> dict[str, Any]:
    low, high = found.interval(0.95)
    lags = found.window.lags
    tensor, errors = diffusion_tensor(found)
    behind = diagnose(found, settings.hop_length_A)
    return {
        "ions": paths.species.count(symbol),
        "diffusion": asdict(found.coefficient) | {"interval_95": [low, high]},
        "tensor_cm2_per_s": tensor,
        "tensor_errors_cm2_per_s": errors,
        "errors_cm2_per_s": found.errors,
        "degrees_of_freedom": found.degrees,
        "independent_coordinates": found.n_coordinates,
        "vibration_A": found.amplitude_A,
        "window_fs": [float(lags[0] * found.interval_fs), float(lags[-1] * found.interval_fs)],
        "window_reason": found.window.reason,
        "is_diffusive": found.window.is_diffusive,
        "hops": behind.hops,
        "hops_at_least": behind.at_least,
        "hop_length_A": behind.hop_length_A,
        "moved_share": behind.moved_share,
        "log_log_slope": behind.exponent,
        "halves_differ_by_standard_errors": behind.halves,
        "influence": {
            name: None if blocks is None else blocks.influence
            for name, blocks in (("time", found.time_blocks), ("particles", found.particle_blocks))
        },
        "forecast": _forecast(found, paths, settings),
        "curves": _curve(found) | {"non_gaussian": behind.non_gaussian, "non_gaussian_fs": behind.times_fs},
        "warnings": [*found.warnings, *behind.warnings],
    }


def _forecast(found: Diffusion, paths: Paths, settings: AnalysisSettings) -> dict[str, Any]:
    length = (paths.n_frames - 1) * paths.interval_fs
    return asdict(forecast(found.coefficient, found.degrees, length, settings.target_relative_error))


def _curve(found: Diffusion) -> dict[str, Any]:
    """Mean square displacement at some lags, total and by axis, with the line."""
    tensor = found.displacements.tensor
    lags = np.unique(np.round(np.geomspace(1, len(tensor) - 1, N_CURVE)).astype(int))
    n_axes = tensor.shape[1]
    return {
        "times_fs": lags * found.interval_fs,
        "msd": np.trace(tensor[lags], axis1=1, axis2=2),
        "axes": [tensor[lags, a, a] for a in range(n_axes)],
        "line": n_axes * (found.fit.step_variance * lags + 2 * found.fit.noise_variance),
    }


def _conductivity(found: Transport, paths: Paths, settings: AnalysisSettings) -> dict[str, Any]:
    lags = found.charge.window.lags
    return {
        "conductivity": asdict(found.conductivity) | {"interval_95": list(found.conductivity_interval(0.95))},
        "nernst_einstein": asdict(found.nernst_einstein),
        "haven_ratio": asdict(found.haven_ratio) | {"interval_95": list(found.haven_interval(0.95))},
        "conductivity_degrees_of_freedom": found.degrees,
        "charge_window_fs": [float(lags[0] * paths.interval_fs), float(lags[-1] * paths.interval_fs)],
        "charge_window_reason": found.charge.window.reason,
        "charge_curves": _curve(found.charge),
        "charge_forecast": _forecast(found.charge, paths, settings),
        "charge_warnings": list(found.warnings),
    }


def _add_green_kubo(
    found: dict[str, Any], trajectory: Trajectory, paths: Paths, settings: AnalysisSettings, source: SourceSettings
) -> None:
    """Add the integral of velocities to each species, in the same frame of reference."""
    velocities, symbols, interval_fs = read_velocities(
        trajectory, settings.species, paths.reference, skip_fs=source.skip_fs
    )
    for symbol, row in found["species"].items():
        try:
            integral = green_kubo(velocities[:, [s == symbol for s in symbols]], interval_fs)
        except ValueError as error:
            row["warnings"].append(f"no Green-Kubo integral: {error}")
            continue
        einstein = row["diffusion"]
        spread = float(np.hypot(integral.coefficient.standard_error, einstein["standard_error"]))
        row["green_kubo"] = {
            "coefficient": asdict(integral.coefficient),
            "cut_fs": integral.cut_fs,
            "is_converged": integral.is_converged,
            "differs_by_standard_errors": (integral.coefficient.value - einstein["value"]) / spread,
            "times_fs": integral.times_fs,
            "integral_cm2_per_s": integral.integral,
            "errors_cm2_per_s": integral.errors,
        }
