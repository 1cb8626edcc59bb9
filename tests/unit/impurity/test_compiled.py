"""After ``limbeck compile`` nothing is compiled any more, whatever the model."""

import json
import subprocess
import sys

from typer.testing import CliRunner

from limbeck.cli import app

AHEAD = """
import json
from limbeck.impurity.compiled import compilations, compile_kernels, signatures
compile_kernels()
print(json.dumps([compilations(), signatures()]))
"""
USE = """
import json
import numpy as np
from limbeck.impurity.absorption import absorption
from limbeck.impurity.multiplets import multiplets
from limbeck.impurity.bath import semicircle
from limbeck.impurity.core_level import core_model, cubic, dipole
from limbeck.impurity.excitations import greens_function
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.properties import expectation, local_moment, total_spin_squared
from limbeck.impurity.operators import product
from limbeck.impurity.network_problem import problem
from limbeck.impurity.selected_ci import iterated
from limbeck.impurity.symmetry import chain_signs

def solved(model):
    state = iterated(natural_orbitals(model), 1, 20, 60)
    greens_function(state, [0], (-3, 3), 0.1, 100)
    local_moment(state)
    expectation(state, product(1.0, (0, True), (0, False)))
    given = problem(natural_orbitals(model), 1, 60)
    chain_signs(given.basis, given.seeds)
    return state

energies, couplings = semicircle(33)  # 68 spin orbitals: two words
total_spin_squared(solved(anderson([[-1.0]], energies, couplings, kanamori(1, 2.0), 34)))
rng = np.random.default_rng(1)
for n in (10, 66):
    h = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    solved(ImpurityModel(np.diag(np.arange(n)) + 0.02 * (h + h.conj().T), kanamori(2, 2.0, 0.3), 2, None))
for field in ((0, 0, 0.1), (0, 0.1, 0)):
    model = core_model(cubic(0.6, -0.4), -100.0, [cubic(-2.6, -3.0)], [cubic(2.0, 1.0)], {0: 7.0, 2: 9.0, 4: 6.0},
                       {0: 8.0, 2: 6.0}, {1: 4.0, 3: 2.0}, 19, core_spin_orbit=11.0, field=field)
    absorption(multiplets(model, 300.0), dipole(), 300.0, half_width=0.5).isotropic(np.linspace(0, 1, 3), 0.5)

from limbeck.impurity.compiled import compilations, signatures
print(json.dumps([compilations(), signatures()]))
"""


def run(code):
    """Compilations and signatures of a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_model_needs_more_than_was_compiled_ahead():
    _, ahead = run(AHEAD)
    for _ in range(3):  # a test beside this one that compiles the same may overwrite an entry of numba's index
        compiled, used = run(USE)
        for kernel, kinds in used.items():
            assert set(kinds) <= set(ahead[kernel]), (
                f"{kernel} was used with arguments that 'limbeck compile' leaves out"
            )
        if not any(compiled.values()):
            break
    assert len([kernel for kernel, kinds in used.items() if kinds]) >= 10
    assert not any(compiled.values()), f"compiled again: {[k for k, n in compiled.items() if n]}"


def test_the_command_says_what_it_did():
    said = CliRunner().invoke(app, ["compile"])
    assert said.exit_code == 0, said.output
    assert said.output.startswith("Kernels: ")
    found = json.loads(CliRunner().invoke(app, ["compile", "--json"]).stdout)
    assert {"kernels.pairs_within", "operators._entries"} <= set(found)
    assert min(found.values()) >= 0
