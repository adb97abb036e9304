"""Reads one field of a route table: the right type within its bounds, or a refusal by path."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

E = TypeVar("E", bound=StrEnum)

_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""What no header, label or line of a log can hold; JSON can."""

_AUTHORITY = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\]|[^\s/?#@\[\]:\\]+)(?::(\d{1,5}))?(?:/|\Z)"
)

_MOST = 1e300
"""Any float; nobody means more."""


class RouteTableError(ValueError):
    """The table breaks a rule; the message is `path: value, rule`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


def as_object(value: object, path: str) -> Mapping[str, Any]:
    """Return `value` if it is an object."""
    if not isinstance(value, Mapping):
        raise RouteTableError(path, f"{_brief(value)} is not an object")
    return value


def part(item: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    """Return an optional object; empty when it is absent."""
    return as_object(item.get(key, {}), f"{path}.{key}")


def array(item: Mapping[str, Any], key: str, path: str) -> Sequence[object]:
    """Return a required array."""
    value = _get(item, key, path)
    if not isinstance(value, list | tuple):
        raise RouteTableError(f"{path}.{key}", f"{_brief(value)} is not an array")
    return value


def objects(
    item: Mapping[str, Any], key: str, path: str
) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Return the objects of a required array, each with its path."""
    found = []
    for index, entry in enumerate(array(item, key, path)):
        at = f"{path}.{key}[{index}]"
        found.append((at, as_object(entry, at)))
    return found


def text(item: Mapping[str, Any], key: str, path: str) -> str:
    """Return a required string with at least one character."""
    value = _get(item, key, path)
    if not isinstance(value, str) or not value:
        raise RouteTableError(f"{path}.{key}", f"{_brief(value)} is not a non-empty string")
    if _UNWRITABLE.search(value):
        raise RouteTableError(f"{path}.{key}", "has control characters or half a surrogate pair")
    return value


def check_authority(url: str, path: str) -> None:
    """Refuse a URL whose host or port could not be connected to.

    Args:
        url: Anything that follows `scheme://AUTHORITY`.
        path: Where it stands.
    """
    found = _AUTHORITY.match(url)
    if found is None or not (found[1] is None or 0 < int(found[1]) < 65536):
        raise RouteTableError(path, f"{_brief(url)} has no host, or a port outside 1 to 65535")


def optional_text(item: Mapping[str, Any], key: str, path: str) -> str | None:
    """Return an optional string; None when it is absent or null."""
    return None if item.get(key) is None else text(item, key, path)


def integer(item: Mapping[str, Any], key: str, path: str, *, low: int, high: int) -> int:
    """Return a required integer between `low` and `high`, both included."""
    value = _get(item, key, path)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RouteTableError(
            f"{path}.{key}", f"{_brief(value)} is not an integer from {low} to {high}"
        )
    return value


def optional_integer(
    item: Mapping[str, Any], key: str, path: str, *, low: int = 1, high: int = 2**31 - 1
) -> int | None:
    """Return an optional integer; None when it is absent or null."""
    return None if item.get(key) is None else integer(item, key, path, low=low, high=high)


def above_zero(item: Mapping[str, Any], key: str, path: str, default: float) -> float:
    """Return an optional finite number above 0."""
    value = item.get(key, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared before it is converted: JSON has integers that no float holds.
    if not is_number or not 0 < value <= _MOST:
        raise RouteTableError(f"{path}.{key}", f"{_brief(value)} is not a number above 0")
    return float(value)


def flag(item: Mapping[str, Any], key: str, path: str) -> bool:
    """Return an optional boolean, false by default."""
    value = item.get(key, False)
    if not isinstance(value, bool):
        raise RouteTableError(f"{path}.{key}", f"{_brief(value)} is not true or false")
    return value


def choice(item: Mapping[str, Any], key: str, path: str, default: E) -> E:
    """Return an optional member of the default's enumeration."""
    value, kind = item.get(key, default), type(default)
    if not isinstance(value, str) or value not in tuple(kind):
        names = ", ".join(kind)
        raise RouteTableError(f"{path}.{key}", f"{_brief(value)}, choose one of {names}")
    return kind(value)


def refuse_twice(names: Sequence[str], path: str, key: str) -> None:
    """Refuse a list in which a name occurs twice."""
    for index, name in enumerate(names):
        if name in names[:index]:
            raise RouteTableError(
                f"{path}[{index}].{key}", f"{name!r} occurs twice, names are unique"
            )


def _get(item: Mapping[str, Any], key: str, path: str) -> object:
    if key not in item:
        raise RouteTableError(f"{path}.{key}", "is missing")
    return item[key]


def _brief(value: object) -> str:
    """A value short enough for one log line."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
