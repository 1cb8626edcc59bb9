"""A transformer as the amplitude of configurations.

One token for each orbital: a letter for its occupation (empty, up, down, both) and a position are turned into a vector,
together with what is known of the orbital (levels, interaction), if the network is to hold for several models. Encoder
layers with attention follow (layer norm first), then a sum over the tokens and two heads: the logarithm of the size,
and a factor that carries the sign,

    psi(n) = exp(a(n)) b(n),

complex models with two factors, ``b + i c``. The sign is not squeezed between -1 and 1: an amplitude must be able to
pass through zero while it is trained. Everything is float64; functions are compiled once for batches of one size, and
the compiled code is kept on disk.

Source of the idea: X. Cao, Z. Zhong, Y. Lu, arXiv:2408.13050; the layers are those of A. Vaswani et al.,
arXiv:1706.03762, with the norms first (R. Xiong et al., arXiv:2002.04745).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from limbeck.core.errors import ConfigError, MissingDependencyError

SMALL_BATCH, BATCH = 64, 256
"""Configurations of one compiled call, few and many; what is missing in the last one is filled up."""
LETTERS = 4
NORM = 1e-6
"""Added to the variance in a layer norm."""
LARGEST = 150.0
"""Logarithms of sizes above this are cut: such a step is never taken, but must not overflow."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network.

    Attributes:
        width: Numbers of a token.
        layers: Encoder layers.
        heads: Heads of attention; they share the width.
        feed_forward: Width of the hidden layer after the attention.
    """

    width: int = 8
    layers: int = 1
    heads: int = 2
    feed_forward: int = 16

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads, self.feed_forward) < 1 or self.width % self.heads:
            raise ConfigError(
                f"a network needs sizes of 1 and more, and heads that divide the width, got width {self.width}, layers "
                f"{self.layers}, heads {self.heads}, feed_forward {self.feed_forward}"
            )


@dataclass(frozen=True)
class Transformer:
    """The function from parameters and configurations to amplitudes.

    Attributes:
        architecture: Sizes.
        n_tokens: Orbitals.
        n_features: Numbers known of each orbital; 0 for a network of one model.
        is_complex: Whether amplitudes are.
    """

    architecture: Architecture
    n_tokens: int
    n_features: int = 0
    is_complex: bool = False

    @property
    def n_outputs(self) -> int:
        """Heads: size, and one or two factors."""
        return 3 if self.is_complex else 2

    @property
    def n_parameters(self) -> int:
        """Real numbers that are trained."""
        return sum(prod(shape) for _, shape in _shapes(self))

    def start(self, rng: np.random.Generator) -> Float[np.ndarray, " p"]:
        """Random parameters to begin with."""
        pieces = []
        for name, shape in _shapes(self):
            if name.startswith("norm"):
                pieces.append(np.stack([np.ones(shape[1]), np.zeros(shape[1])]).ravel())
            elif name.startswith("bias"):
                pieces.append(np.zeros(prod(shape)))
            else:
                scale = 1.0 if name in ("letters", "positions") else np.sqrt(shape[-2])
                pieces.append(rng.normal(size=prod(shape)) / scale)
        return np.concatenate(pieces)

    def heads(
        self, parameters: Float[np.ndarray, " p"], tokens: Int[np.ndarray, "n t"], features: "np.ndarray"
    ) -> Float[np.ndarray, "n o"]:
        """Logarithm of the size, and the factors."""
        return _in_batches(self, "heads", parameters, tokens, features)[0]

    def heads_and_gradients(
        self, parameters: Float[np.ndarray, " p"], tokens: Int[np.ndarray, "n t"], features: "np.ndarray"
    ) -> tuple[Float[np.ndarray, "n o"], Float[np.ndarray, "n o p"]]:
        """The same with derivatives by the parameters."""
        values, gradients = _in_batches(self, "heads_and_gradients", parameters, tokens, features)
        return values, gradients

    def amplitudes(
        self, parameters: Float[np.ndarray, " p"], tokens: Int[np.ndarray, "n t"], features: "np.ndarray"
    ) -> Float[np.ndarray, "n c"]:
        """Amplitudes, not normalized: real, or real and imaginary part."""
        values = self.heads(parameters, tokens, features)
        return np.exp(np.minimum(values[:, :1], LARGEST)) * values[:, 1:]

    def amplitudes_and_gradients(
        self, parameters: Float[np.ndarray, " p"], tokens: Int[np.ndarray, "n t"], features: "np.ndarray"
    ) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "n c p"]]:
        """The same with derivatives by the parameters."""
        if len(tokens) <= BATCH:  # not worth another compilation
            values, slopes = self.heads_and_gradients(parameters, tokens, features)
            size, factors = np.exp(np.minimum(values[:, :1], LARGEST)), values[:, 1:]
            return size * factors, size[:, :, None] * (slopes[:, 1:] + factors[:, :, None] * slopes[:, :1])
        values, gradients = _in_batches(self, "amplitudes_and_gradients", parameters, tokens, features)
        return values, gradients


def tokens_of(occupied: "np.ndarray") -> Int[np.ndarray, "n t"]:
    """Letters of occupations (n, spin orbitals): 0 empty, 1 up, 2 down, 3 both."""
    return np.asarray(occupied[:, 0::2].astype(np.int32) + 2 * occupied[:, 1::2].astype(np.int32))


def _shapes(network: Transformer) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the parameters in their order."""
    a = network.architecture
    d, hidden = a.width, a.feed_forward
    shapes: list[tuple[str, tuple[int, ...]]] = [("letters", (LETTERS, d)), ("positions", (network.n_tokens, d))]
    if network.n_features:
        shapes.append(("features", (LETTERS, network.n_features, d)))
    for k in range(a.layers):
        shapes += [
            (f"norm_attention_{k}", (2, d)), (f"query_{k}", (d, d)), (f"key_{k}", (d, d)), (f"value_{k}", (d, d)),
            (f"mix_{k}", (d, d)), (f"norm_hidden_{k}", (2, d)), (f"in_{k}", (d, hidden)), (f"bias_in_{k}", (hidden,)),
            (f"out_{k}", (hidden, d)), (f"bias_out_{k}", (d,)),
        ]  # fmt: skip
    return [*shapes, ("norm_last", (2, d)), ("head", (d, network.n_outputs)), ("bias_head", (network.n_outputs,))]


@dataclass(frozen=True)
class _Compiled:
    heads: Callable[..., Any]
    heads_and_gradients: Callable[..., Any]
    amplitudes_and_gradients: Callable[..., Any]


def jax_module() -> Any:
    """JAX, with compiled code kept on disk.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        import jax
    except ImportError as error:
        raise MissingDependencyError(
            f"a network needs the package jax ({error}). Install it: pip install 'limbeck[network]'"
        ) from error
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(Path(root) / "limbeck" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    return jax


@lru_cache(maxsize=64)
def _compiled(network: Transformer, is_small: bool) -> _Compiled:
    """Functions of a network; those for few configurations are compiled in half the time, and run at half the speed."""
    jax = jax_module()
    jnp = jax.numpy
    a, shapes = network.architecture, _shapes(network)
    ends = np.cumsum([0, *(prod(shape) for _, shape in shapes)])
    split = (network.n_tokens, a.heads, a.width // a.heads)

    def norm(x: Any, scale_and_shift: Any) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + NORM) * scale_and_shift[0] + scale_and_shift[1]

    def heads(parameters: Any, tokens: Any, features: Any) -> Any:
        p = {name: parameters[ends[k] : ends[k + 1]].reshape(shape) for k, (name, shape) in enumerate(shapes)}
        x = p["letters"][tokens] + p["positions"]
        if network.n_features:
            x = x + jnp.einsum("tf,tfd->td", features, p["features"][tokens])
        for k in range(a.layers):
            y = norm(x, p[f"norm_attention_{k}"])
            query, key, value = ((y @ p[f"{name}_{k}"]).reshape(split) for name in ("query", "key", "value"))
            weights = jax.nn.softmax(jnp.einsum("thc,shc->hts", query, key) / np.sqrt(split[2]), axis=-1)
            x = x + jnp.einsum("hts,shc->thc", weights, value).reshape(x.shape) @ p[f"mix_{k}"]
            y = norm(x, p[f"norm_hidden_{k}"])
            x = x + jax.nn.gelu(y @ p[f"in_{k}"] + p[f"bias_in_{k}"]) @ p[f"out_{k}"] + p[f"bias_out_{k}"]
        pooled = norm(x, p["norm_last"]).sum(0) / np.sqrt(network.n_tokens)
        return pooled @ p["head"] + p["bias_head"]

    def amplitude(parameters: Any, tokens: Any, features: Any) -> Any:
        out = heads(parameters, tokens, features)
        return jnp.exp(jnp.minimum(out[0], LARGEST)) * out[1:]

    def with_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *x: (function(*x), jax.jacrev(function)(*x))

    def batched(function: Callable[..., Any]) -> Callable[..., Any]:
        options = {"xla_backend_optimization_level": 0} if is_small and jax.default_backend() == "cpu" else None
        return jax.jit(jax.vmap(function, (None, 0, 0)), compiler_options=options)

    return _Compiled(batched(heads), batched(with_gradient(heads)), batched(with_gradient(amplitude)))


def _in_batches(
    network: Transformer, name: str, parameters: "np.ndarray", tokens: "np.ndarray", features: "np.ndarray"
) -> "list[np.ndarray]":
    """Outputs of a compiled function over all configurations; ``features`` is (t, f) of all, or (n, t, f)."""
    jax = jax_module()
    n = len(tokens)
    batch = SMALL_BATCH if n <= SMALL_BATCH else BATCH
    function = getattr(_compiled(network, n <= SMALL_BATCH), name)
    found: list[np.ndarray] = []
    with jax.enable_x64(True):
        for begin in range(0, max(n, 1), batch):
            here = np.arange(begin, begin + batch).clip(max=max(n - 1, 0))
            known = features[here] if features.ndim == 3 else np.broadcast_to(features, (batch, *features.shape))
            out = function(parameters, tokens[here], known)
            parts = [np.asarray(part) for part in (out if isinstance(out, tuple) else (out,))]
            if not found:
                found = [np.empty((n, *part.shape[1:])) for part in parts]
            count = min(batch, n - begin)
            for whole, part in zip(found, parts, strict=True):
                whole[begin : begin + count] = part[:count]
    return found
