"""Block Green's functions on the real axis in HDF5, in the layout of TRIQS, written and read with h5py alone.

A block function is a group with the attribute ``Format = "BlockGf"``, the names of its blocks in ``block_names`` and a
group for each block: ``Format = "Gf"``, ``data`` (n, m, m, 2) with real and imaginary part last and the attribute
``__complex__ = "1"``, and ``mesh`` with ``Format = "MeshReFreq"``, ``min``, ``max``, ``size``. Names of indices are
optional there and left out. Beside the functions stand numbers, such as the broadening.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Complex, Float

from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.core.record import write_bytes

EVEN = 1e-9
"""Largest deviation of frequencies from equal distances, relative to their range."""


@dataclass(frozen=True)
class BlockFunction:
    """A function of real frequencies for each block of orbitals.

    Attributes:
        frequencies: (n,) at equal distances.
        blocks: (n, m, m) of each name, such as ``up`` and ``down``.
    """

    frequencies: Float[np.ndarray, " n"]
    blocks: Mapping[str, Complex[np.ndarray, "n m m"]]


def write_block_functions(
    path: Path, functions: Mapping[str, BlockFunction], numbers: Mapping[str, float] | None = None
) -> None:
    """Write a file, whole or not at all.

    Args:
        path: The file.
        functions: Block functions by the name of their group.
        numbers: Scalars by name.

    Raises:
        ConfigError: If frequencies have unequal distances or shapes do not fit.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for name, function in functions.items():
            _write_block(file.create_group(name), name, function)
        for name, value in (numbers or {}).items():
            file.create_dataset(name, data=float(value))
    write_bytes(path, memory.getvalue())


def _write_block(group: "h5py.Group", name: str, function: BlockFunction) -> None:
    w = np.asarray(function.frequencies, dtype=float)
    if len(w) < 2 or np.abs(w - np.linspace(w[0], w[-1], len(w))).max() > EVEN * abs(w[-1] - w[0]):
        raise ConfigError(f"{name}: the mesh needs two or more frequencies at equal distances, got {len(w)}")
    _set_text(group, "Format", "BlockGf")
    names = list(function.blocks)
    _write_names(group, "block_names", names)
    for block, values in function.blocks.items():
        data = np.asarray(values, dtype=complex)
        if data.ndim != 3 or data.shape[0] != len(w) or data.shape[1] != data.shape[2]:
            raise ConfigError(f"{name}, {block}: needs the shape ({len(w)}, m, m), got {data.shape}")
        inner = group.create_group(block)
        _set_text(inner, "Format", "Gf")
        dataset = inner.create_dataset("data", data=np.stack([data.real, data.imag], axis=-1))
        _set_text(dataset, "__complex__", "1")
        mesh = inner.create_group("mesh")
        _set_text(mesh, "Format", "MeshReFreq")
        mesh.create_dataset("min", data=float(w[0]))
        mesh.create_dataset("max", data=float(w[-1]))
        mesh.create_dataset("size", data=np.int64(len(w)))


def read_block_functions(path: Path) -> tuple[dict[str, BlockFunction], dict[str, float]]:
    """All block functions on real frequencies of a file, and its scalars.

    Raises:
        MissingFileError: If it is not there.
        ConfigError: If it is not HDF5, or holds no such function.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    functions: dict[str, BlockFunction] = {}
    numbers: dict[str, float] = {}
    try:
        with h5py.File(path, "r") as file:
            for name, item in file.items():
                if isinstance(item, h5py.Dataset) and item.shape == () and item.dtype.kind in "fiu":
                    numbers[name] = float(item[()])
                elif isinstance(item, h5py.Group) and _text(item.attrs.get("Format", "")) == "BlockGf":
                    functions[name] = _read_block(item)
    except OSError as error:
        raise ConfigError(f"{path}: not an HDF5 file ({error})") from error
    if not functions:
        raise ConfigError(f"{path}: holds no block Green's function (a group with Format = BlockGf)")
    return functions, numbers


def _read_block(group: "h5py.Group") -> BlockFunction:
    blocks, w = {}, np.zeros(0)
    for raw in group["block_names"][()]:
        block = _text(raw)
        mesh = group[block]["mesh"]
        kind = _text(mesh.attrs.get("Format", ""))
        if kind != "MeshReFreq":
            raise ConfigError(f"{group.name}/{block}: the mesh is {kind or 'unknown'}, expected MeshReFreq")
        w = np.linspace(float(mesh["min"][()]), float(mesh["max"][()]), int(mesh["size"][()]))
        data = group[block]["data"][()]
        blocks[block] = data[..., 0] + 1j * data[..., 1]
    return BlockFunction(w, blocks)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _text_type(length: int) -> "h5py.h5t.TypeID":
    """Text of fixed length that ends with a zero byte, as the h5 library of TRIQS writes it."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(length + 1)
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    kind.set_cset(h5py.h5t.CSET_UTF8)
    return kind


def _set_text(item: "h5py.Group | h5py.Dataset", name: str, text: str) -> None:
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    kind = _text_type(len(text.encode()))
    h5py.h5a.create(item.id, name.encode(), kind, space).write(
        np.array(text.encode(), dtype=f"S{len(text.encode()) + 1}"), mtype=kind
    )


def _write_names(group: "h5py.Group", name: str, names: Sequence[str]) -> None:
    raw = [text.encode() for text in names]
    length = max(len(text) for text in raw)
    kind, space = _text_type(length), h5py.h5s.create_simple((len(raw),))
    dataset = h5py.h5d.create(group.id, name.encode(), kind, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(raw, dtype=f"S{length + 1}"), mtype=kind)
