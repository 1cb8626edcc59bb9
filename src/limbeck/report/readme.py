"""How to use the potential: the run folder's README, and the same lines for the report."""

from pathlib import Path, PurePosixPath

from ase.data import atomic_masses, atomic_numbers

from limbeck.core.record import write_text
from limbeck.dynamics.lammps_script import repeats_for
from limbeck.labels.serialize import atoms_from_dict
from limbeck.potentials.lammps_calculator import data_file
from limbeck.report.blocks import format_number, in_words
from limbeck.report.schema import ForgeResults, Potential
from limbeck.report.verdict import chosen_student, error_of, verdict, warnings

INPUT_FILE, STRUCTURE_FILE = "in.lammps", "structure.data"
LEAST_ATOMS = 200
"""Fewest atoms of the structure to try the potential on."""


def _lines(potential: Potential) -> list[str]:
    return [
        text.replace("{folder}", potential.folder) for text in (*potential.settings_lines, *potential.pair_style_lines)
    ]


def _mass(symbol: str) -> str:
    return f"{atomic_masses[atomic_numbers[symbol]]:.4f}"


def lammps_input(potential: Potential) -> str:
    """LAMMPS input that runs the potential from the run folder, with this run's files and elements."""
    types = ", ".join(f"{n} = {symbol}" for n, symbol in enumerate(potential.elements, start=1))
    masses = [f"mass            {n} {_mass(symbol)}" for n, symbol in enumerate(potential.elements, start=1)]
    return "\n".join(
        [
            "# eV, Angstrom, ps, bar",
            "units           metal",
            "atom_style      atomic",
            "boundary        p p p",
            *(text.replace("{folder}", potential.folder) for text in potential.settings_lines),
            f"# atom types: {types}",
            f"read_data       {STRUCTURE_FILE}",
            *masses,
            *(text.replace("{folder}", potential.folder) for text in potential.pair_style_lines),
            "timestep        0.001",
            "velocity        all create 300.0 12345",
            "fix             1 all npt temp 300.0 300.0 0.1 iso 0.0 0.0 1.0",
            "thermo          100",
            "# another length: lmp -in in.lammps -var steps 1000",
            "variable        steps index 10000",
            "run             ${steps}",
            "",
        ]
    )


def write_example(folder: Path, potential: Potential) -> tuple[Path, ...]:
    """Write the LAMMPS input and the structure that it reads into the run folder, so that the README's command works.

    Returns:
        The files; none where the record holds no structure.
    """
    if potential.structure is None:
        return ()
    crystal = atoms_from_dict(potential.structure)
    atoms = crystal.repeat(repeats_for(crystal.cell[:], len(crystal), LEAST_ATOMS))
    files = (folder / INPUT_FILE, folder / STRUCTURE_FILE)
    write_text(files[0], lammps_input(potential))
    write_text(files[1], data_file(atoms, potential.elements))
    return files


def ase_script(potential: Potential) -> str:
    """Python that gives ASE calculators of student and teacher from the run folder's files."""
    text = [
        "from pathlib import Path",
        "",
        "from ase.io import read",
        "",
        "from limbeck.potentials.students import load",
        "",
        'atoms = read("my_structure.cif")',
        f'atoms.calc = load(Path("{potential.folder}")).calculator()   # runs LAMMPS in this process',
        "print(atoms.get_potential_energy())   # eV",
        "print(atoms.get_forces())             # eV/Å",
        "print(atoms.get_stress())             # eV/Å^3, Voigt order, ASE's sign",
    ]
    if potential.teacher_file:
        text += [
            "",
            "# The fine-tuned teacher: slower, and what the student was made from.",
            "from limbeck.potentials.teachers import load_teacher",
            "",
            f'atoms.calc = load_teacher(Path("{potential.teacher_file}")).calculator()',
        ]
    return "\n".join([*text, ""])


def validity(results: ForgeResults) -> list[tuple[str, str]]:
    """What the potential was made from and tested on, as label and text: elements, conditions, errors."""
    rows: list[tuple[str, str]] = []
    if results.potential is not None:
        rows.append(("Elements", ", ".join(results.potential.elements)))
    sampled = [t for e in results.evaluations for t in e.by_trajectory]
    for label, values, unit in (
        ("Temperatures tested", [t.temperature_K for t in sampled if t.temperature_K is not None], "K"),
        ("Pressures tested", [t.pressure_GPa for t in sampled if t.pressure_GPa is not None], "GPa"),
    ):
        if values:
            low, high = min(values), max(values)
            span = format_number(low) if low == high else f"{format_number(low)} to {format_number(high)}"
            rows.append((label, f"{span} {unit}"))
    student = chosen_student(results)
    for error, label in (("force_rmse", "Force RMSE"), ("energy_rmse", "Energy RMSE"), ("stress_rmse", "Stress RMSE")):
        mine = error_of(results, "student", error) or (student.errors_vs_labels.get(error) if student else None)
        if mine is not None and mine.value is not None:
            rows.append((f"{label}, student", in_words(mine.value, mine.standard_error, mine.unit)))
        teacher = error_of(results, "fine_tuned", error)
        if teacher is not None:
            rows.append((f"{label}, teacher", in_words(teacher.value, teacher.standard_error, teacher.unit)))
    if results.labels is not None:
        theory = ", ".join(f"{k} {v}" for k, v in results.labels.theory.items() if isinstance(v, str | int | float))
        rows.append(
            ("Labels", f"{results.labels.engine} {results.labels.version}".strip() + (f" ({theory})" if theory else ""))
        )
    return rows


def readme(results: ForgeResults) -> str:
    """Text of the run folder's ``README.md``."""
    from limbeck.report.document import environment

    potential = results.potential
    files = [str(PurePosixPath(potential.folder) / name) for name in potential.files] if potential else []
    return (
        environment()
        .get_template("readme.md.j2")
        .render(
            results=results,
            title=results.title or results.name,
            verdict=verdict(results)[0],
            warnings=warnings(results),
            potential=potential,
            files=files,
            pair_lines=_lines(potential) if potential else [],
            lammps=lammps_input(potential) if potential else "",
            ase=ase_script(potential) if potential else "",
            masses=[(n, s, _mass(s)) for n, s in enumerate(potential.elements, start=1)] if potential else [],
            validity=validity(results),
            input_file=INPUT_FILE,
            structure_file=STRUCTURE_FILE,
            has_example=potential is not None and potential.structure is not None,
        )
    )
