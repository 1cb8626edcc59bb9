"""Spectral functions of baths whose sectors cannot be taken whole, with their stated errors.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/impurity_large_spectra.py

One orbital, U = 2 D, 31 and 63 levels of the fixed discretization, half width 0.1 D.
"""

import sys
import time
from pathlib import Path

import numpy as np
from impurity_ground import one_orbital

from limbeck.core.record import write_json
from limbeck.impurity.excitations import greens_function
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.selected_ci import iterated

ENERGIES, WIDTH = np.linspace(-3.5, 3.5, 1401), 0.1
COMMAND = ".venv/bin/python benchmarks/impurity_large_spectra.py"


def spectrum(n_bath: int, ground: int, excited: int) -> tuple[np.ndarray, float, float]:
    """A(w), the largest stated error over the peak, and CPU seconds with the ground state."""
    began = time.process_time()
    state = iterated(natural_orbitals(one_orbital(n_bath, 2.0)), 1, 2000, ground)
    green = greens_function(state, [0], (ENERGIES[0], ENERGIES[-1]), WIDTH, excited)
    value, error = green.spectral_function(ENERGIES, WIDTH)
    return value[:, 0], float(error.max() / value.max()), time.process_time() - began


def main() -> None:
    """Measure, show, write."""
    rows = []
    for n_bath, ground, excited in ((31, 4000, 8000), (63, 4000, 8000)):
        _, stated, seconds = spectrum(n_bath, ground, excited)
        rows.append({"id": f"impurity-spectrum-{n_bath}-stated", "value": 100 * stated, "standard_error": None,
                     "unit": "% of peak", "command": COMMAND,
                     "note": f"{ground} + 2 x {excited} configurations; {seconds:.1f} CPU s"})  # fmt: skip
        sys.stdout.write(f"{rows[-1]['id']} {rows[-1]['value']:.3g} {rows[-1]['unit']} {rows[-1]['note']}\n")
        sys.stdout.flush()
        write_json(Path(__file__).with_suffix(".json"), rows)


if __name__ == "__main__":
    main()
