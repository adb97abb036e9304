"""Reads the head of a GGUF file: metadata fields and where each tensor lies.

The public `gguf` reader builds numpy views for every string and takes 2 s for a vocabulary of
49k tokens; this one takes 0.1 s, copies what it reads, and checks every length against the file
before using it. Tensor data is not touched.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pagelet_engine.errors import ModelLoadError

GgufValue: TypeAlias = "bool | int | float | str | list[GgufValue]"

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_MAX_DIMENSIONS = 4
_MAX_NESTING = 4
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where one tensor lies in the file."""

    name: str
    shape: tuple[int, ...]
    """Row-major, as torch and numpy count; the file stores it reversed."""
    ggml_type: int
    """Number of the storage format (0 is F32, 1 F16, 3 Q4_1, 8 Q8_0 ...)."""
    offset: int
    """First byte, from the start of the file."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything before the tensor data."""

    path: Path
    fields: dict[str, GgufValue]
    tensors: tuple[GgufTensor, ...]
    file_bytes: int

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer field.

        Raises:
            ModelLoadError: It is absent without a default, or not an integer.
        """
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelLoadError(f"{self.path}: field {key} is {value!r}; an integer is needed.")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a numeric field as float; raises like `integer`."""
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelLoadError(f"{self.path}: field {key} is {value!r}; a number is needed.")
        return float(value)

    def string(self, key: str, default: str | None = None) -> str:
        """Return a string field; raises like `integer`."""
        value = self.fields.get(key, default)
        if not isinstance(value, str):
            raise ModelLoadError(f"{self.path}: field {key} is {value!r}; a string is needed.")
        return value

    def strings(self, key: str) -> list[str]:
        """Return a list-of-strings field; raises like `integer`."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ModelLoadError(f"{self.path}: field {key} must be a list of strings.")
        return [str(item) for item in value]

    def numbers(self, key: str) -> list[float]:
        """Return a list-of-numbers field as floats; raises like `integer`."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(item, float) for item in value):
            raise ModelLoadError(f"{self.path}: field {key} must be a list of numbers.")
        return [item for item in value if isinstance(item, float)]

    def integers(self, key: str) -> list[int]:
        """Return a list-of-integers field; raises like `integer`."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise ModelLoadError(f"{self.path}: field {key} must be a list of integers.")
        return [item for item in value if isinstance(item, int)]


def read_gguf_header(path: Path) -> GgufHeader:
    """Read fields and tensor table of the GGUF file at `path`.

    Raises:
        ModelLoadError: Unreadable, not GGUF, an unknown version, or cut short.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).header()
    except (OSError, ValueError) as error:  # mmap of an empty file is a ValueError
        raise ModelLoadError(f"{path} cannot be read as GGUF: {error}.") from error


class _Reader:
    """A cursor over the mapped file; every read is checked against its end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._end = len(data)
        self._at = 0

    def header(self) -> GgufHeader:
        """Read the whole head; see `read_gguf_header`."""
        if self._data[:4] != _MAGIC:
            raise ModelLoadError(f"{self._path} is not a GGUF file: it starts with no GGUF mark.")
        self._at = 4
        version = self._scalar("I")
        if version not in _VERSIONS:
            raise ModelLoadError(
                f"{self._path} has GGUF version {version}; versions 2 and 3 are readable. "
                f"Convert the model again with a current converter."
            )
        num_tensors, num_fields = self._count(24), self._count(13)
        fields: dict[str, GgufValue] = {}
        for _ in range(num_fields):
            key = self._string()
            fields[key] = self._value(int(self._scalar("I")), 0)
        entries = [self._tensor_entry() for _ in range(num_tensors)]
        start = self._data_start(fields)
        tensors = tuple(
            GgufTensor(name, shape, kind, start + offset) for name, shape, kind, offset in entries
        )
        return GgufHeader(self._path, fields, tensors, self._end)

    def _tensor_entry(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        num_dimensions = int(self._scalar("I"))
        if not 1 <= num_dimensions <= _MAX_DIMENSIONS:
            raise self._corrupt(f"tensor {name!r} has {num_dimensions} dimensions")
        shape = tuple(int(self._scalar("Q")) for _ in range(num_dimensions))
        return name, shape[::-1], int(self._scalar("I")), int(self._scalar("Q"))

    def _data_start(self, fields: dict[str, GgufValue]) -> int:
        alignment = fields.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise self._corrupt(f"general.alignment is {alignment!r}, not a power of two")
        return -(-self._at // alignment) * alignment

    def _value(self, kind: int, depth: int) -> GgufValue:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(depth)
        if kind not in _SCALARS:
            raise self._corrupt(f"unknown field type {kind}")
        return self._scalar(_SCALARS[kind])

    def _array(self, depth: int) -> list[GgufValue]:
        if depth >= _MAX_NESTING:
            raise self._corrupt("arrays are nested too deeply")
        kind = int(self._scalar("I"))
        if kind == _STRING:
            return list(self._strings(self._count(8)))
        if kind == _ARRAY:
            return [self._array(depth + 1) for _ in range(self._count(12))]
        if kind not in _SCALARS:
            raise self._corrupt(f"unknown array type {kind}")
        width = struct.calcsize(f"<{_SCALARS[kind]}")
        count = self._count(width)
        values = struct.unpack_from(f"<{count}{_SCALARS[kind]}", self._data, self._at)
        self._at += count * width
        return list(values)

    def _strings(self, count: int) -> list[str]:
        # PERF: the vocabulary's hot loop, 98k strings: 0.06 s with locals, 0.15 s through _string.
        data, at, end = self._data, self._at, self._end
        read_length = struct.Struct("<Q").unpack_from
        strings: list[str] = []
        for _ in range(count):
            stop = at + 8
            if stop > end:
                raise self._corrupt("it ends inside a list of strings")
            stop += read_length(data, at)[0]
            if stop > end:
                raise self._corrupt("a string reaches past the end of the file")
            strings.append(data[at + 8 : stop].decode("utf-8"))
            at = stop
        self._at = at
        return strings

    def _string(self) -> str:
        return self._strings(1)[0]

    def _count(self, min_item_bytes: int) -> int:
        count = int(self._scalar("Q"))
        if count * min_item_bytes > self._end - self._at:
            raise self._corrupt(f"it announces {count} items, more than the file can hold")
        return count

    def _scalar(self, code: str) -> int | float:
        width = struct.calcsize(f"<{code}")
        if self._at + width > self._end:
            raise self._corrupt("it ends inside its head")
        (value,) = struct.unpack_from(f"<{code}", self._data, self._at)
        self._at += width
        number: int | float = value
        return number

    def _corrupt(self, what: str) -> ModelLoadError:
        return ModelLoadError(
            f"{self._path} is corrupt or cut short at byte {self._at}: {what}. "
            f"Download it again and compare its checksum."
        )
