"""Reading pickled model and result files without running what they ask for.

A pickle may name any function of the computer and have it called. Files of the SMPL family, sdc_info.npy and
PHALP's results hold only arrays, numbers and containers; they are read by an unpickler that knows those, puts
inert stand-ins where foreign array classes are named (chumpy, scipy.sparse), and refuses everything else.
"""

from __future__ import annotations

import pickle
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar

from mimo.stage import Rejected

LARGEST = 2 << 30  # bytes that a packed file may unpack to
DAMAGED = (ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, zlib.error)
"""What reading a damaged file may end with."""

# What Python 2 and 3 call the harmless parts that arrays and containers are made of.
_BUILTIN: dict[str, Any] = {
    "object": object,
    "set": set,
    "frozenset": frozenset,
    "complex": complex,
    "bytearray": bytearray,
    "slice": slice,
}


class Refused(pickle.UnpicklingError):
    """A pickle asks for what no harmless file needs."""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What Python 3 pickles bytes with for protocol 2; only Latin-1 occurs."""
    if encoding != "latin1":
        raise Refused(f"encoding {encoding}")
    return text.encode("latin1")


def _from_bytes(
    content: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]
) -> np.ndarray:
    """An array as NumPy pickles it for protocol 5."""
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _rebuilt(cls: Any, base: type, state: Any) -> Any:
    """`copyreg._reconstructor` for classes that are built on nothing else."""
    if base is not object:
        raise Refused(f"{cls.__name__} built on {base.__name__}")
    return cls.__new__(cls)


_HARMLESS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("copy_reg", "_reconstructor"): _rebuilt,
    ("copyreg", "_reconstructor"): _rebuilt,
    ("numpy._core.numeric", "_frombuffer"): _from_bytes,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
}
_HARMLESS |= {
    (module, name): kind for module in ("__builtin__", "builtins") for name, kind in _BUILTIN.items()
}
_HARMLESS |= {
    (f"numpy.{core}.multiarray", name): function
    for core in ("core", "_core")
    for name, function in (("_reconstruct", _reconstruct), ("scalar", scalar))
}


class Stored:
    """Stand-in for an object of a foreign class: keeps the state that was pickled."""

    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """The array that the object stands for.

        Raises:
            ValueError: it is no array that this can tell.
        """
        raise ValueError(f"{type(self).__name__} holds no array")


class ChumpyArray(Stored):
    """`chumpy.Ch` (its array `x`) or `chumpy.reordering.Select` (entries `idxs` of an array `a`)."""

    def array(self) -> np.ndarray:
        """See `Stored.array`."""
        state = self.state if isinstance(self.state, dict) else {}
        if "x" in state:
            return to_array(state["x"])
        if {"a", "idxs"} <= state.keys():
            chosen = to_array(state["a"]).ravel()[to_array(state["idxs"])]
            return chosen.reshape(state.get("preferred_shape", chosen.shape))
        raise ValueError("a chumpy object that is neither a plain array nor a selection")


class SparseMatrix(Stored):
    """`scipy.sparse` matrix by compressed columns or rows."""

    by_column = True

    def array(self) -> np.ndarray:
        """See `Stored.array`."""
        state = self.state if isinstance(self.state, dict) else {}
        try:
            shape = state["_shape"] if "_shape" in state else state["shape"]
            ends, places, values = (np.asarray(state[name]) for name in ("indptr", "indices", "data"))
            dense = np.zeros(shape if self.by_column else shape[::-1], values.dtype)
            dense[places, np.repeat(np.arange(dense.shape[1]), np.diff(ends))] = values
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"a damaged sparse matrix ({error})") from error
        return dense if self.by_column else dense.T


class SparseRows(SparseMatrix):
    """The same by rows."""

    by_column = False


def to_array(value: Any) -> np.ndarray:
    """An array, or what stands for one, as a plain numeric array.

    Raises:
        ValueError: it holds something else than numbers.
    """
    array = value.array() if isinstance(value, Stored) else np.asarray(value)
    if array.dtype == object:
        raise ValueError("not an array of numbers")
    return array


def _foreign_array(module: str, name: str) -> type[Stored] | None:
    if module.split(".")[0] == "chumpy":
        return ChumpyArray
    if module.startswith("scipy.sparse") and name in ("csc_matrix", "csc_array"):
        return SparseMatrix
    if module.startswith("scipy.sparse") and name in ("csr_matrix", "csr_array"):
        return SparseRows
    return None


# The Python implementation, since joblib's format interleaves the pickle with the bytes of arrays.
_PythonUnpickler: Any = pickle._Unpickler  # type: ignore[attr-defined]


class Unpickler(_PythonUnpickler):
    """Unpickler that builds arrays, containers and stand-ins, and nothing else."""

    def __init__(self, file: IO[bytes], more: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(file, encoding="latin1")
        self.more = more

    def find_class(self, module: str, name: str) -> Any:
        """The harmless thing of that name; anything else ends the reading."""
        found = self.more.get((module, name)) or _HARMLESS.get((module, name)) or _foreign_array(module, name)
        if found is None:
            raise Refused(f"it asks for {module}.{name}, which no such file needs")
        return found

    def load_build(self) -> None:
        """Give an object its state; a class or function gets none."""
        if callable(self.stack[-2]):
            raise Refused("it changes a function or class")
        super().load_build()

    dispatch = _PythonUnpickler.dispatch | {pickle.BUILD[0]: load_build}

    def get_extension(self, code: int) -> None:
        """Refused: codes are short for arbitrary names."""
        raise Refused("it uses extension codes")

    def persistent_load(self, pid: Any) -> None:
        """Refused."""
        raise Refused("it refers to other objects")


class JoblibArray(Stored):
    """`joblib.numpy_pickle.NumpyArrayWrapper`: description of an array whose bytes follow in the stream."""

    def read(self, unpickler: JoblibUnpickler) -> np.ndarray:
        """The array, from where the unpickler's file stands."""
        shape, dtype = self.state["shape"], np.dtype(self.state["dtype"])
        if dtype.hasobject:
            return np.asarray(JoblibUnpickler(unpickler.file, unpickler.more).load())
        if self.state.get("numpy_array_alignment_bytes") is not None:
            unpickler.file.read(unpickler.file.read(1)[0])
        count = int(np.prod(shape, dtype=np.int64))
        values = np.frombuffer(unpickler.file.read(count * dtype.itemsize), dtype)
        return values.reshape(shape, order=self.state["order"])


class JoblibUnpickler(Unpickler):
    """The same for joblib's files."""

    def __init__(self, file: IO[bytes], more: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(file, {("joblib.numpy_pickle", "NumpyArrayWrapper"): JoblibArray, **more})
        self.file = file

    def load_build(self) -> None:
        """After an array's description come its bytes."""
        super().load_build()
        if isinstance(self.stack[-1], JoblibArray):
            self.stack.append(self.stack.pop().read(self))

    dispatch = Unpickler.dispatch | {pickle.BUILD[0]: load_build}


def load(path: Path, what: str) -> Any:
    """Read a pickle.

    Args:
        path: the file.
        what: what it should be, for messages, such as ``an SMPL model``.

    Raises:
        Rejected: it is missing, damaged, or asks for more than arrays and containers.
    """
    return _guarded(path, what, lambda file: Unpickler(file, {}).load())


def load_joblib(path: Path, what: str) -> Any:
    """Read a file of ``joblib.dump``, plain or packed by zlib or gzip; see `load`.

    Raises:
        Rejected: as `load`, or it is packed in another way or unpacks to more than 2 GiB.
    """
    return _guarded(path, what, lambda file: JoblibUnpickler(_unpacked(file), {}).load())


def load_array_file(path: Path, what: str) -> Any:
    """Read a ``.npy`` file: an array of numbers, or the pickled object that it holds instead; see `load`."""

    def read(file: IO[bytes]) -> Any:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
        if not dtype.hasobject:
            file.seek(0)
            return np.load(file, allow_pickle=False)
        held = np.asarray(Unpickler(file, {}).load(), object)
        return held.item() if not shape else held

    return _guarded(path, what, read)


def _guarded(path: Path, what: str, read: Callable[[IO[bytes]], Any]) -> Any:
    try:
        with path.open("rb") as file:
            return read(file)
    except Refused as error:
        raise Rejected(f"{path}: refused as {what}: {error}; get the file from its own site") from error
    except OSError as error:
        raise Rejected(f"{path}: cannot be read ({error.strerror or error}); needs {what}") from error
    except (pickle.UnpicklingError, *DAMAGED) as error:
        raise Rejected(f"{path}: not {what} ({type(error).__name__}: {error}), or damaged") from error


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """A file's content, unpacked, by its first bytes."""
    start = file.read(6)
    file.seek(0)
    if start[:1] == b"\x80":
        return file
    if start[:1] == b"\x78":
        return BytesIO(_inflate(file, zlib.decompressobj()))
    if start[:2] == b"\x1f\x8b":
        return BytesIO(_inflate(file, zlib.decompressobj(31)))
    if start[:4] == b"\x04\x22\x4d\x18":
        raise ValueError("packed by lz4; save it again with joblib.dump(results, path, compress=3)")
    raise ValueError("neither a pickle nor packed by zlib or gzip")


def _inflate(file: IO[bytes], unpacker: Any) -> bytes:
    parts, size = [], 0
    while block := file.read(1 << 20):
        part = unpacker.decompress(block, LARGEST - size + 1)
        size += len(part)
        if size > LARGEST:
            raise ValueError("unpacks to more than 2 GiB")
        parts.append(part)
    return b"".join([*parts, unpacker.flush()])
