"""Ground state of an impurity by a vision transformer in NetKet: run by impurity_netket.py in the peers' environment.

network_peer.py MODEL.npz SETTINGS.json OUTPUT.json

MODEL: ``one_body`` (n, n) over orbitals, ``u`` on orbital 0, ``n_electrons`` (half of each spin). SETTINGS: see
:class:`Settings`. Double precision (JAX_ENABLE_X64=1) and one thread are set by the caller. Clock: CPU seconds of the
whole process; the exact energy of the network, by which a run is judged, is found outside the clock.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import optax

IMPORTED = time.process_time()


@dataclass(frozen=True)
class Settings:
    """What a run is given.

    ``method``: ``vmc`` (VMC_SR, Metropolis hops) or ``full_sum`` (VMC_SR, exact sums over the whole sector).
    ``readout``: ``phase`` (psi = exp(a + i b)) or ``tanh`` (psi = exp(a) tanh(b)).
    """

    method: str = "vmc"
    layers: int = 1
    width: int = 8
    heads: int = 2
    readout: str = "phase"
    operator: str = "conserving"
    momentum: float | None = None
    samples: int = 512
    chains: int = 16
    sweep: int = 16
    learning_rate: float = 0.05
    final_learning_rate: float | None = None
    diagonal_shift: float = 0.01
    final_diagonal_shift: float | None = None
    decay_steps: int = 200
    scale: float = 0.02
    seed: int = 0
    exact: float = 0.0
    good: float = 1e-3
    most_seconds: float = 600.0
    most_steps: int = 100_000


class Transformer(nn.Module):
    """Tokens: orbitals by their (n_up, n_down); pre-norm encoder; mean; logarithm of the amplitude, and its sign."""

    layers: int
    width: int
    heads: int
    readout: str
    scale: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logarithm of psi of configurations (..., 2 n), one spin after the other."""
        n = x.shape[-1] // 2
        bits = x.reshape(-1, 2, n).astype(int)
        letters = bits[:, 0] + 2 * bits[:, 1]
        given = {"param_dtype": float, "dtype": float}
        normal = nn.initializers.normal(1.0)
        table = self.param("letters", normal, (4, self.width), float)
        place = self.param("positions", normal, (n, self.width), float)
        y = table[letters] + place
        for _ in range(self.layers):
            z = nn.LayerNorm(**given)(y)
            y = y + nn.MultiHeadDotProductAttention(num_heads=self.heads, **given)(z, z)
            z = nn.LayerNorm(**given)(y)
            y = y + nn.Dense(self.width, **given)(nn.gelu(nn.Dense(2 * self.width, **given)(z)))
        pooled = nn.LayerNorm(**given)(y).mean(axis=1)
        out = nn.Dense(2, kernel_init=nn.initializers.normal(self.scale), **given)(pooled)
        sign = 1j * out[:, 1] if self.readout == "phase" else jnp.log(jnp.tanh(out[:, 1]) + 0j)
        return (out[:, 0] + sign).reshape(x.shape[:-1])


def operators(h: np.ndarray, u: float, n_electrons: int, kind: str) -> tuple[object, object]:
    """Hilbert space of the sector, and H in it (number- and spin-conserving, JAX)."""
    n = len(h)
    space = nk.hilbert.SpinOrbitalFermions(n, s=1 / 2, n_fermions_per_spin=(n_electrons // 2,) * 2)
    terms, weights = [], []
    for s in range(2):
        for i, j in zip(*np.nonzero(h), strict=True):
            terms.append(((i + s * n, 1), (j + s * n, 0)))
            weights.append(h[i, j])
    terms.append(((0, 1), (0, 0), (n, 1), (n, 0)))
    weights.append(u)
    if kind == "jax":
        return space, nk.operator.FermionOperator2ndJax(space, terms=terms, weights=weights)
    general = nk.operator.FermionOperator2nd(space, terms=terms, weights=weights)
    if kind == "numba":
        return space, general
    return space, nk.experimental.operator.ParticleNumberAndSpinConservingFermioperator2nd.from_fermionoperator2nd(
        general
    )


def rate(first: float, last: float | None, steps: int) -> "float | Callable[[int], float]":
    """A constant, or a geometric way from one value to another."""
    if last is None:
        return first
    return optax.exponential_decay(first, steps, last / first, end_value=last)


def run(path: str, settings: Settings) -> dict:
    """One run: its course, and the CPU seconds to the wanted accuracy."""
    data = np.load(path)
    h, u, n_electrons = data["one_body"], float(data["u"]), int(data["n_electrons"])
    space, hamiltonian = operators(h, u, n_electrons, settings.operator)
    network = Transformer(settings.layers, settings.width, settings.heads, settings.readout, settings.scale)
    if settings.method == "vmc":
        # every hop of one electron to an empty orbital of the natural basis, both spins
        edges = [(i, j) for i in range(len(h)) for j in range(i)]
        sampler = nk.sampler.MetropolisFermionHop(
            space, graph=nk.graph.Graph(edges=edges), spin_symmetric=True, n_chains=settings.chains,
            sweep_size=settings.sweep,
        )  # fmt: skip
        state = nk.vqs.MCState(
            sampler, network, n_samples=settings.samples, n_discard_per_chain=4, seed=settings.seed,
            sampler_seed=settings.seed + 1,
        )  # fmt: skip
    else:
        state = nk.vqs.FullSumState(space, network, seed=settings.seed)
    driver = nk.driver.VMC_SR(
        hamiltonian,
        optax.sgd(rate(settings.learning_rate, settings.final_learning_rate, settings.decay_steps)),
        variational_state=state,
        diag_shift=rate(settings.diagonal_shift, settings.final_diagonal_shift, settings.decay_steps),
        momentum=settings.momentum,
        mode="complex",
    )
    built = time.process_time()
    course: list[dict] = []
    reached, first = None, None
    everything, matrix = space.all_states(), operators(h, u, n_electrons, "numba")[1].to_sparse()
    evaluate = jax.jit(lambda variables: network.apply(variables, everything))
    log = nk.logging.RuntimeLog()
    outside = time.process_time() - built
    for step in range(1, settings.most_steps + 1):
        driver.run(1, out=log, show_progress=False)
        jax.block_until_ready(state.parameters)
        now = time.process_time() - outside
        first = now if first is None else first
        began = time.process_time()
        logs = np.asarray(evaluate(state.variables))
        psi = np.exp(logs - logs.real.max())
        energy = float((np.vdot(psi, matrix @ psi) / np.vdot(psi, psi)).real)
        error = (energy - settings.exact) / abs(settings.exact)
        course.append(
            {"step": step, "seconds": now, "estimate": float(log.data["Energy"]["Mean"][-1].real), "error": error}
        )
        if step % 20 == 0:
            sys.stderr.write(f"{step} {now:.1f} s  estimate {course[-1]['estimate']:.5f}  exact error {error:.2e}\n")
            sys.stderr.flush()
        outside += time.process_time() - began
        if error < settings.good:
            reached = now
            break
        if now > settings.most_seconds or not np.isfinite(error):
            break
    return {
        "settings": asdict(settings), "parameters": int(nk.jax.tree_size(state.parameters)), "reached_s": reached,
        "steps": len(course), "import_s": IMPORTED, "built_s": built - IMPORTED, "first_step_s": first,
        "steps_s": course[-1]["seconds"] - course[0]["seconds"], "course": course,
    }  # fmt: skip


if __name__ == "__main__":
    chosen = Settings(**json.loads(Path(sys.argv[2]).read_text()))
    Path(sys.argv[3]).write_text(json.dumps(run(sys.argv[1], chosen)))
