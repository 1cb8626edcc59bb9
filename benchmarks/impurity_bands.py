"""L edges with many bath orbitals on chosen classes of configurations: CPU seconds, stated and true errors.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_bands.py

Truths are whole sectors: Mn2+ with one ligand shell (15 504 and 29 070 configurations), Co2+ with two (4060, 2610). NiO
with 50 full and 10 empty bath orbitals (studies/impurity/nio-bands.yaml), whose sector has 1e13 configurations, only
has the stated error. Half width 0.24 eV, 300 K; deviations are the largest over the peak.
"""

import argparse
import resource
import shlex
import sys
import time
from pathlib import Path

import numpy as np

from limbeck.core.progress import SilentReporter
from limbeck.core.record import write_json
from limbeck.impurity.absorption import Absorption, absorption
from limbeck.impurity.core_level import dipole
from limbeck.impurity.multiplets import Multiplets
from limbeck.impurity.subspace import sector_size
from limbeck.workflows.impurity.core_build import ion_of, multiplets_of
from limbeck.workflows.impurity.core_config import ConfigurationSettings, CoreLevelSettings
from limbeck.workflows.impurity.core_run import read_core_settings

STUDIES = Path(__file__).parents[1] / "studies" / "impurity"
WIDTH = 0.24


def solved(settings: CoreLevelSettings) -> tuple[Multiplets, Absorption, float]:
    """States, absorption, CPU seconds."""
    began = time.process_time()
    states = multiplets_of(ion_of(settings), settings, SilentReporter())
    most = None if states.is_whole else settings.configurations.excited
    found = absorption(states, dipole(), settings.temperature_K, half_width=WIDTH, most=most)
    return states, found, time.process_time() - began


def with_sizes(settings: CoreLevelSettings, whole: int, ground: int, excited: int) -> CoreLevelSettings:
    """The same with other sizes of sets."""
    sizes = ConfigurationSettings(whole=whole, ground=ground, excited=excited)
    return settings.model_copy(update={"configurations": sizes})


def two_shells(settings: CoreLevelSettings) -> CoreLevelSettings:
    """The ligand shell split in two, 2 eV apart."""
    given = settings.ligands[0]
    half = {"V_eg_eV": given.V_eg_eV / np.sqrt(2), "V_t2g_eV": given.V_t2g_eV / np.sqrt(2)}
    return settings.model_copy(
        update={"ligands": [given.model_copy(update={"level_eV": e, **half}) for e in (-1.0, 1.0)]}
    )


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    shown = shlex.join([".venv/bin/python", "benchmarks/impurity_bands.py"])
    rows: list[dict] = []

    def row(name: str, value: float, unit: str, note: str = "") -> None:
        rows.append({"id": f"impurity-bands-{name}", "value": value, "standard_error": 0.0, "unit": unit,
                     "command": shown, "note": note})  # fmt: skip
        sys.stdout.write(f"{rows[-1]['id']:36} {value:10.3g} {unit}  {note}\n")
        sys.stdout.flush()

    files = {name: read_core_settings(STUDIES / f"{name}.yaml") for name in ("mno", "coo", "nio-bands")}
    solved(with_sizes(files["coo"], 10, 700, 1000))  # compiles
    for name, settings, sizes in (
        ("co-20", two_shells(files["coo"]), (2500, 2200)),
        ("mn-10", files["mno"], (8000, 21_000)),
    ):
        states, truth, seconds = solved(with_sizes(settings, 200_000, 10, 10))
        chosen, found, fast = solved(with_sizes(settings, 1, *sizes))
        low, high = (f(p.energies[np.sum(np.abs(p.amplitudes) ** 2, axis=1) > 1e-4].min() for p in truth.poles)
                     for f in (min, max))  # fmt: skip
        x = np.linspace(low - 3, high + 20, 4001)
        exact = truth.isotropic(x, WIDTH)
        note = f"{len(chosen.rows)} of {len(states.rows)} and {found.n_final} of {truth.n_final} configurations"
        row(f"{name}-deviation", float(np.abs(found.isotropic(x, WIDTH) - exact).max() / exact.max()), "of peak", note)
        row(f"{name}-stated", float(found.isotropic_error(x, WIDTH).max() / exact.max()), "of peak", "stated error")
        row(f"{name}-energy", float(chosen.energies[0] - states.energies[0]), "eV", "lowest energy above the true one")
        row(f"{name}-pt2", chosen.steps[-1].pt2, "eV", "PT2 of the chosen set")
        row(f"{name}-whole-s", seconds, "CPU s", "whole sectors")
        row(f"{name}-s", fast, "CPU s", "chosen classes")
    settings = files["nio-bands"]
    for label, sizes in (("small", (20_000, 40_000)), ("large", (60_000, 120_000))):
        states, found, seconds = solved(with_sizes(settings, 1, *sizes))
        x = np.linspace(845.0, 885.0, 4001)
        spectrum, total = found.isotropic(x, WIDTH), sector_size(states.hamiltonian.model)
        row(
            f"nio-60-{label}-s",
            seconds,
            "CPU s",
            f"{len(states.rows)} and {found.n_final} configurations; the sector has {total:.1g}",
        )
        row(
            f"nio-60-{label}-stated",
            float(found.isotropic_error(x, WIDTH).max() / spectrum.max()),
            "of peak",
            "change from half of the final set",
        )
        row(f"nio-60-{label}-pt2", states.steps[-1].pt2, "eV", "of the initial state")
        row(f"nio-60-{label}-line", float(x[spectrum.argmax()]), "eV", "main line")
        if label == "small":
            before = spectrum
    row(
        "nio-60-small-from-large",
        float(np.abs(spectrum - before).max() / spectrum.max()),
        "of peak",
        "whole spectrum of the small sets from that of the large ones",
    )
    row("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, "GB", "largest, of all")
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
