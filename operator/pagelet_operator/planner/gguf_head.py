"""Reads what a plan needs of a GGUF file's head: plain fields and tensor names, no weights.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3,
little-endian. Lists, such as the vocabulary, are stepped over.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from pagelet_operator.core.planner.errors import PlanError

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_STRING, _LIST = 8, 9
_LONGEST_TEXT = 16 * 2**20
_MOST_ITEMS = 2**24
_MOST_DIMENSIONS = 4

Plain: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class GgufHead:
    """What the head of a file says."""

    fields: dict[str, Plain]
    """Metadata but for lists."""
    tensors: dict[str, tuple[int, ...]]
    """Dimensions by name, in the file's order: the first varies fastest."""


def read_gguf_head(path: Path) -> GgufHead:
    """Return the head of the file at `path`.

    Raises:
        PlanError: It cannot be read, or is no whole GGUF head.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file).head()
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from None
    except (struct.error, ValueError, KeyError) as error:
        raise PlanError(f"{path}: is no whole GGUF file of version 2 or 3: {error}") from None


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def head(self) -> GgufHead:
        if self._file.read(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self._number("I")
        if version not in (2, 3):
            raise ValueError(f"its version is {version}")
        num_tensors, num_fields = self._count(), self._count()
        fields = {}
        for _ in range(num_fields):
            key, value = self._text(), self._value(int(self._number("I")))
            if value is not None:
                fields[key] = value
        return GgufHead(fields, dict(self._tensor() for _ in range(num_tensors)))

    def _tensor(self) -> tuple[str, tuple[int, ...]]:
        name, num_dimensions = self._text(), int(self._number("I"))
        if num_dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name!r} has {num_dimensions} dimensions")
        shape = tuple(int(self._number("Q")) for _ in range(num_dimensions))
        self._number("I")  # how it is stored
        self._number("Q")  # and where
        return name, shape

    def _value(self, kind: int) -> Plain | None:
        if kind == _STRING:
            return self._text()
        if kind == _LIST:
            self._skip_list()
            return None
        return self._number(_FORMATS[kind])

    def _skip_list(self) -> None:
        kind, count = int(self._number("I")), self._count()
        if kind == _STRING:
            for _ in range(count):
                self._text()
            return
        if kind == _LIST:
            raise ValueError("a list of lists")
        self._file.seek(count * struct.calcsize(f"<{_FORMATS[kind]}"), 1)

    def _count(self) -> int:
        count = int(self._number("Q"))
        if count > _MOST_ITEMS:
            raise ValueError(f"it announces {count} items")
        return count

    def _text(self) -> str:
        length = int(self._number("Q"))
        if length > _LONGEST_TEXT:
            raise ValueError(f"it announces a text of {length} bytes")
        data = self._file.read(length)
        if len(data) < length:
            raise ValueError("it ends inside its head")
        return data.decode("utf-8", "replace")

    def _number(self, code: str) -> int | float:
        data = self._file.read(struct.calcsize(f"<{code}"))
        found: tuple[int | float] = struct.unpack(f"<{code}", data)
        return found[0]
