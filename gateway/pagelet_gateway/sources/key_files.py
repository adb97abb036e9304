"""Keys that a route table keeps in files of their own, so that the table itself holds no secret."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger("pagelet.gateway")

_FIELDS = {"gatewayKeyFile": "gatewayKey", "apiKeyFile": "apiKey"}
"""Field that names a file, and the field that its content becomes."""


class KeyFiles:
    """Fills the content of key files into tables; remembers which files those are."""

    def __init__(self) -> None:
        self.paths: tuple[Path, ...] = ()
        """Files that the last table named; when one changes, the table is to be filled anew."""
        self._texts: dict[Path, str] = {}

    def fill(self, raw: bytes) -> bytes | Mapping[str, Any]:
        """Return the table with its keys; unchanged if it names no file or is no table at all.

        A file that cannot be read keeps what it held last, with one log line.
        """
        self.paths = ()
        if not any(field.encode() in raw for field in _FIELDS):
            return raw
        try:
            table = json.loads(raw)
        except (ValueError, RecursionError):
            return raw  # The parser says what is wrong with it.
        places = [(item, field) for item in _items(table) for field in _FIELDS if field in item]
        for item, field in places:
            path = Path(str(item[field]))
            item[_FIELDS[field]] = self._text(path)
            self.paths = tuple(dict.fromkeys((*self.paths, path)))
        return table if isinstance(table, dict) else raw

    def _text(self, path: Path) -> str | None:
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("key file cannot be read", path=str(path), reason=str(error))
            return self._texts.get(path)
        self._texts[path] = text
        return text or None


def _items(table: object) -> Iterator[dict[str, Any]]:
    """Yield the models of a table and the links of their fallback, as far as they are such."""
    for model in _objects(table, "models"):
        yield model
        yield from _objects(model, "fallback")


def _objects(item: object, key: str) -> Iterator[dict[str, Any]]:
    found = item.get(key) if isinstance(item, dict) else None
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict):
            yield entry
