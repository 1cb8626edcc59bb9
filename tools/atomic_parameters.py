"""Write the table of atomic parameters that limbeck ships, from the files of Crispy.

    pip download --no-deps crispy==2026.3 && .venv/bin/python tools/atomic_parameters.py crispy-2026.3-py3-none-any.whl

Taken are d shells alone and above a p core. Crispy's values come from R. D. Cowan's program of Hartree-Fock averages of
configurations with relativistic corrections; nothing is scaled. Crispy is under the MIT licence, whose text is kept
with the numbers.
"""

import io
import json
import re
import sys
import zipfile
from pathlib import Path

import h5py

TARGET = Path(__file__).resolve().parent.parent / "src" / "limbeck" / "impurity" / "atomic_parameters.json"
SOURCE = (
    "Hartree-Fock averages of configurations with relativistic corrections (R. D. Cowan, The Theory of Atomic "
    "Structure and Spectra, University of California Press, 1981), calculated with Cowan's program for Crispy "
    "{version} (M. Retegan, doi:10.5281/zenodo.1008184); eV, not scaled"
)
ALONE = ("F2({d},{d})", "F4({d},{d})", "ζ({d})")
WITH_CORE = (*ALONE, "F2({p},{d})", "G1({p},{d})", "G3({p},{d})", "ζ({p})")


def main() -> None:
    """Read the wheel, write the table."""
    path = Path(sys.argv[1])
    atoms: dict[str, dict[str, list[float]]] = {}
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        licence = next(name for name in names if name.endswith("LICENSE.rst"))
        for name in sorted(n for n in names if re.search(r"parameters/[A-Z][a-z]?\.h5$", n)):
            with h5py.File(io.BytesIO(wheel.read(name))) as file:
                found = {key: _numbers(file[key]["Atomic"], key) for key in file if _is_wanted(key)}
            if found:
                atoms[Path(name).stem] = found
        text = wheel.read(licence).decode()
    head = {"source": SOURCE.format(version=path.name.split("-")[1]), "license": text.strip().splitlines()}
    rows = ",\n".join(f' "{name}": {json.dumps(atoms[name])}' for name in sorted(atoms))
    start = json.dumps(head, indent=1).rstrip("}").rstrip()
    TARGET.write_text(f'{start},\n "atoms": {{\n{rows}\n }}\n}}\n')
    sys.stdout.write(f"{sum(map(len, atoms.values()))} configurations of {len(atoms)} elements: {TARGET}\n")


def _is_wanted(key: str) -> bool:
    return re.fullmatch(r"(\dp5,)?\dd\d+", key) is not None


def _numbers(group: h5py.Group, key: str) -> list[float]:
    shells = [re.match(r"\d[spdf]", part).group() for part in key.split(",")]
    wanted = ALONE if len(shells) == 1 else WITH_CORE
    return [round(float(group[name.format(d=shells[-1], p=shells[0])][()]), 6) for name in wanted]


if __name__ == "__main__":
    main()
