"""Multiplets of an ion, then core-level spectra, then files."""

import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from limbeck import __version__
from limbeck.core.config import load
from limbeck.core.progress import Reporter, SilentReporter
from limbeck.core.record import (
    finished_before,
    hash_of,
    make_folder,
    package_versions,
    to_jsonable,
    write_json,
    write_text,
)
from limbeck.core.units import KB
from limbeck.impurity.absorption import Absorption, absorption
from limbeck.impurity.atomic import source
from limbeck.impurity.core_level import dipole
from limbeck.impurity.multiplet_properties import angular_momenta, configuration_weights
from limbeck.impurity.multiplets import SAME_LEVEL, Multiplets
from limbeck.impurity.photoemission import of_spin, of_total_angular_momentum, photoemission
from limbeck.impurity.scattering import scattering
from limbeck.impurity.transitions import Transitions
from limbeck.report.core_level import write_report
from limbeck.workflows.impurity.core_build import Ion, ion_of, multiplets_of
from limbeck.workflows.impurity.core_config import CoreLevelSettings

RESULTS = "results.json"
TAIL = 5e-4
"""Share of the weight of a spectrum on either side that may lie outside the window that is chosen for it."""
MARGIN = 12.0
"""Half widths by which that window is wider."""
LARGE_ERROR, LARGE_MISS = 0.05, 1e-3
"""Stated error relative to the peak, and weight that was left out, above which a warning is given."""
BELOW_LINE, ABOVE_LINE, N_INCIDENT = 3.0, 6.0, 25


def describes_an_ion(path: Path) -> bool:
    """Whether a file is one of core-level spectra: it has a part called shell."""
    return path.is_file() and re.search(rb"^shell\s*:", path.read_bytes(), re.MULTILINE) is not None


def read_core_settings(path: Path) -> CoreLevelSettings:
    """Settings of a YAML file."""
    return load(path, CoreLevelSettings)


def run_core_level(
    settings: CoreLevelSettings, folder: Path, *, reporter: Reporter | None = None
) -> dict[str, Any]:  # fmt: skip
    """Solve an ion and write report, numbers and spectra into a folder; a finished run is not done again.

    Returns:
        What ``results.json`` holds.
    """
    say = reporter or SilentReporter()
    key = hash_of([__version__, settings.model_dump(mode="json")])
    if (before := finished_before(folder / RESULTS, key)) is not None:
        say.message(f"{folder}: is finished.")
        return dict(before)
    make_folder(folder)
    started, ion = time.process_time(), ion_of(settings)
    states = multiplets_of(ion, settings, say)
    found: dict[str, Any] = {
        "name": settings.name, "title": settings.title or settings.name, "key": key,
        "command": shlex.join(["limbeck", *sys.argv[1:]]), "version": __version__, "versions": package_versions(),
        "settings": settings.model_dump(mode="json"),
        "configurations_eV": [[name, energy] for name, energy in ion.levels.table()]
        if settings.ligands
        else [],
        "parameters": _described_parameters(ion, settings),
        "multiplets": _described(ion, states, settings),
    }  # fmt: skip
    found["multiplets"]["cpu_s"] = time.process_time() - started
    edge = None
    if {"xas", "rixs"} & set(settings.spectra):
        found["xas"], edge = _absorption(states, settings, say)
    if "xps" in settings.spectra:
        found["xps"] = _photoemission(ion, states, settings, say)
    if "rixs" in settings.spectra:
        assert edge is not None
        found["rixs"] = _scattering(states, settings, edge, say)
    found["warnings"] = _warnings(found)
    _write_columns(folder, found)
    plain: dict[str, Any] = to_jsonable(found)
    write_report(folder, plain)
    write_json(folder / RESULTS, plain)
    return plain


def _described_parameters(ion: Ion, settings: CoreLevelSettings) -> dict[str, Any]:
    given = ion.parameters
    return {
        "electrons": given.electrons, "slater_factor": given.slater_factor, "values_eV": given.table,
        "source": source() if settings.ion is not None else "",
    }  # fmt: skip


def _described(ion: Ion, states: Multiplets, settings: CoreLevelSettings) -> dict[str, Any]:
    values, weights = angular_momenta(states), states.weights(settings.temperature_K)
    gap = states.energies - states.energies[0]
    first = np.flatnonzero(np.diff(gap, prepend=-1.0) > SAME_LEVEL)
    levels = []
    for begin, end in zip(first, [*first[1:], len(gap)], strict=True):
        own = slice(begin, end)
        levels.append({
            "energy_meV": 1e3 * gap[begin], "degeneracy": int(end - begin), "weight": weights[own].sum(),
            "S2": values.spin_squared[own].mean(), "L2": values.orbital_squared[own].mean(),
            "J2": values.total_squared[own].mean(), "l_s": values.spin_orbit[own].mean(),
            "Sz": values.spin_z[own].mean(), "Lz": values.orbital_z[own].mean(),
            "S2_of_all": values.whole_spin_squared[own].mean(),
        })  # fmt: skip
    means = {name: float(sum(x["weight"] * x[name] for x in levels)) for name in ("S2", "L2", "J2", "l_s", "Sz", "Lz")}
    return {
        "levels": levels, "means": means,
        "thermal_energy_meV": 1e3 * KB * settings.temperature_K,
        "weights": configuration_weights(states, ion.reference, settings.temperature_K),
        "configurations": len(states.rows), "is_whole": states.is_whole,
        "steps": [{"configurations": s.n, "energy_eV": s.energy, "pt2_eV": s.pt2} for s in states.steps],
        "spin_orbitals": ion.model.n_spin_orbitals, "reference": list(ion.reference),
    }  # fmt: skip


def _absorption(
    states: Multiplets, settings: CoreLevelSettings, say: Reporter
) -> tuple[dict[str, Any], float]:  # fmt: skip
    """The numbers, and the energy of the main line."""
    wanted, started = settings.xas, time.process_time()
    with say.bar("absorption", float(settings.configurations.excited)) as bar:
        found = absorption(
            states, dipole(), settings.temperature_K, half_width=wanted.half_width_eV, most=_most(states, settings),
            tell=lambda n: bar.set(float(n)),
        )  # fmt: skip
    x, width = _grid(found, wanted.window_eV, wanted.points, wanted.half_width_eV), wanted.half_width_eV
    tensor = found.tensor(x, width)
    isotropic = found.isotropic(x, width)
    numbers = {
        "energies_eV": x, "half_width_eV": width, "isotropic": isotropic,
        "errors": found.isotropic_error(x, width),
        "along": [tensor[:, k, k].real for k in range(3)],
        "circular_dichroism": found.circular_dichroism(x, width),
        "configurations": found.n_final, "missed": found.missed,
        "integral": np.trace(found.moment(0)).real / 3,
        "cpu_s": time.process_time() - started,
    }  # fmt: skip
    return numbers, float(x[isotropic.argmax()])


def _photoemission(ion: Ion, states: Multiplets, settings: CoreLevelSettings, say: Reporter) -> dict[str, Any]:
    wanted, n, started = settings.xps, ion.parameters.electrons, time.process_time()
    model = states.hamiltonian.model
    with say.bar("photoemission", float(settings.configurations.excited)) as bar:
        found = photoemission(
            states, model.core, settings.temperature_K, half_width=wanted.half_width_eV, most=_most(states, settings),
            tell=lambda k: bar.set(float(k)),
        )  # fmt: skip
    binding = settings.core.edge_eV if settings.core.binding_eV is None else settings.core.binding_eV
    shift = binding - ion.levels.energy(n, 0, 1)
    window = None if wanted.window_eV is None else [x - shift for x in wanted.window_eV]
    x, width = _grid(found, window, wanted.points, wanted.half_width_eV), wanted.half_width_eV
    matrix = found.matrix(x, width)
    return {
        "energies_eV": x + shift, "half_width_eV": width, "spectrum": found.trace(x, width),
        "errors": found.error(x, width),
        "of_j": {f"{k}/2": of_total_angular_momentum(matrix, 1, k) for k in (3, 1)},
        "of_spin": [of_spin(matrix, s) for s in (0, 1)],
        "configurations": found.n_final, "missed": found.missed, "integral": np.trace(found.moment(0)).real,
        "cpu_s": time.process_time() - started,
    }  # fmt: skip


def _scattering(states: Multiplets, settings: CoreLevelSettings, edge: float, say: Reporter) -> dict[str, Any]:
    wanted, started = settings.rixs, time.process_time()
    incident = np.array(
        wanted.incident_eV or np.linspace(edge - BELOW_LINE, edge + ABOVE_LINE, N_INCIDENT), dtype=float
    )
    losses = np.linspace(wanted.loss_eV[0], wanted.loss_eV[1], wanted.points)
    with say.bar("scattering", float(len(incident) * len(states.energies))) as bar:
        found = scattering(
            states, dipole(), incident, settings.temperature_K, core_half_width=wanted.core_half_width_eV,
            final_half_width=wanted.final_half_width_eV, most_loss=losses[-1] + 2.0, most=_most(states, settings),
            tell_energies=lambda n: bar.set(float(n)),
        )  # fmt: skip
    width = wanted.final_half_width_eV
    powder = found.powder_in_geometry(losses, width, wanted.angle_deg, wanted.in_plane)
    return {
        "incident_eV": incident, "losses_eV": losses, "core_half_width_eV": wanted.core_half_width_eV,
        "half_width_eV": width, "powder": powder,
        "parallel": found.powder(losses, width, 1.0), "crossed": found.powder(losses, width, 0.0),
        "error": found.error(losses, width).max(),
        "configurations": [found.n_intermediate, found.n_final], "cpu_s": time.process_time() - started,
    }  # fmt: skip


def _most(states: Multiplets, settings: CoreLevelSettings) -> int | None:
    return None if states.is_whole else settings.configurations.excited


def _grid(
    found: Transitions | Absorption, window: list[float] | None, points: int, half_width: float
) -> "np.ndarray":  # fmt: skip
    """Energies: those of the window, or those around all lines."""
    if window is not None:
        return np.linspace(window[0], window[1], points)
    energies = np.concatenate([p.energies for p in found.poles])
    strength = np.concatenate([
        w * np.sum(np.abs(p.amplitudes) ** 2, axis=1) for p, w in zip(found.poles, found.weights, strict=True)
    ])  # fmt: skip
    order = np.argsort(energies)
    share = np.cumsum(strength[order]) / strength.sum()
    low, high = (energies[order][np.searchsorted(share, x)] for x in (TAIL, 1 - TAIL))
    return np.linspace(low - MARGIN * half_width, high + MARGIN * half_width, points)


def _warnings(found: dict[str, Any]) -> list[str]:
    warnings = []
    for name, key in (("xas", "isotropic"), ("xps", "spectrum"), ("rixs", "powder")):
        if name not in found:
            continue
        part = found[name]
        error = part["error"] if name == "rixs" else np.max(part["errors"])
        if error > LARGE_ERROR * np.max(part[key]):
            warnings.append(
                f"{name}: the last growth of the configurations changed the spectrum by "
                f"{100 * error / np.max(part[key]):.1f} % of its peak; take more (configurations.excited)"
            )
        if part.get("missed", 0.0) > LARGE_MISS:
            warnings.append(f"{name}: {100 * part['missed']:.2f} % of the weight lies on configurations left out")
    return warnings


def _write_columns(folder: Path, found: dict[str, Any]) -> None:
    """Files of columns that any plotting program reads."""
    if "xas" in found:
        x = found["xas"]
        columns = (x["energies_eV"], x["isotropic"], x["errors"], *x["along"], x["circular_dichroism"])
        title = "photon energy (eV), isotropic absorption (1/eV), its error, polarized along x, y, z, left less right"
        _write_table(folder / "xas.dat", title, columns)
    if "xps" in found:
        x = found["xps"]
        columns = (x["energies_eV"], x["spectrum"], x["errors"], x["of_j"]["3/2"], x["of_j"]["1/2"], *x["of_spin"])
        title = "binding energy (eV), photoemission (1/eV), its error, from j = 3/2, from j = 1/2, spin up, spin down"
        _write_table(folder / "xps.dat", title, columns)
    if "rixs" in found:
        x = found["rixs"]
        grid = np.meshgrid(x["incident_eV"], x["losses_eV"], indexing="ij")
        columns = tuple(np.ravel(v) for v in (*grid, x["powder"], x["parallel"], x["crossed"]))
        title = "incident energy (eV), loss (eV), powder in the geometry, parallel, crossed polarizations"
        _write_table(folder / "rixs.dat", title, columns)


def _write_table(path: Path, title: str, columns: "tuple[np.ndarray, ...]") -> None:
    rows = (" ".join(f"{value:.8g}" for value in row) for row in zip(*columns, strict=True))
    write_text(path, "\n".join([f"# {title}", *rows, ""]))
