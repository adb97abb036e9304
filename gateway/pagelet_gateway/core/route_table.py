"""The route table: which revisions of which models serve, where, with what share.

Written by the operator, obeyed by the gateway; the JSON contract is
docs/reference/route-table.md. Parsing is all or nothing: a table that breaks one rule is
refused whole with the path of the field at fault, so that half a rollout is never applied.
Readers ignore fields they do not know: an older gateway must survive a newer operator.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

SCHEMA_VERSION = 1
DEFAULT_REQUEST_TIMEOUT_S = 600.0
"""Ten minutes: longer than any answer a user waits for, short enough to free a lost slot."""


class RouteTableError(ValueError):
    """The table breaks a rule; the message is `path: value, rule`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class Role(StrEnum):
    """What a revision is to its model."""

    STABLE = "stable"
    CANARY = "canary"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One version of a model and the engines that serve it."""

    name: str
    role: Role
    weight: int
    """Share of the model's requests, percent."""
    endpoints: tuple[str, ...]
    """Base URLs, `scheme://host[:port]`, no trailing slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """All revisions of one model name."""

    name: str
    resource: str
    """`namespace/name` of the ModelDeployment."""
    generation: int
    request_timeout_s: float
    """From the first byte of the request to the last of the answer."""
    revisions: tuple[Revision, ...]

    @property
    def serving(self) -> tuple[Revision, ...]:
        """Revisions that get traffic, in table order."""
        return tuple(revision for revision in self.revisions if revision.weight > 0)

    @property
    def is_servable(self) -> bool:
        """Whether at least one revision has both a share and an endpoint."""
        return any(revision.endpoints for revision in self.serving)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Every model this gateway answers for, by name."""

    models: Mapping[str, ModelRoute]


def parse(raw: bytes | Mapping[str, Any]) -> RouteTable:
    """Read a route table.

    Args:
        raw: UTF-8 JSON, or the decoded object.

    Raises:
        RouteTableError: The table breaks a rule; nothing of it may be used.
    """
    root = _object(_decode(raw) if isinstance(raw, bytes) else raw, "$")
    version = _get(root, "schemaVersion", "$")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise RouteTableError(
            "$.schemaVersion", f"{version!r}, this gateway reads {SCHEMA_VERSION}"
        )
    models: dict[str, ModelRoute] = {}
    for index, item in enumerate(_array(root, "models", "$")):
        path = f"$.models[{index}]"
        model = _model(_object(item, path), path)
        if model.name in models:
            raise RouteTableError(f"{path}.name", f"{model.name!r} occurs twice, names are unique")
        models[model.name] = model
    return RouteTable(models=MappingProxyType(models))


def _decode(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RouteTableError("$", f"not JSON, {error}") from None


def _model(item: Mapping[str, Any], path: str) -> ModelRoute:
    revisions = tuple(
        _revision(_object(entry, f"{path}.revisions[{index}]"), f"{path}.revisions[{index}]")
        for index, entry in enumerate(_array(item, "revisions", path))
    )
    _check_revisions(revisions, f"{path}.revisions")
    return ModelRoute(
        name=_text(item, "name", path),
        resource=_text(item, "resource", path),
        generation=_integer(item, "generation", path, low=0, high=2**63 - 1),
        request_timeout_s=_timeout_s(item, path),
        revisions=revisions,
    )


def _check_revisions(revisions: Sequence[Revision], path: str) -> None:
    names = [revision.name for revision in revisions]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise RouteTableError(
                f"{path}[{index}].name", f"{name!r} occurs twice, names are unique"
            )
    total = sum(revision.weight for revision in revisions)
    if total not in (0, 100):
        raise RouteTableError(path, f"weights sum to {total}, they must sum to 100 or all be 0")


def _revision(item: Mapping[str, Any], path: str) -> Revision:
    role = _text(item, "role", path)
    if role not in tuple(Role):
        raise RouteTableError(f"{path}.role", f"{role!r}, choose stable, canary or retired")
    endpoints: list[str] = []
    for index, entry in enumerate(_array(item, "endpoints", path)):
        at = f"{path}.endpoints[{index}]"
        url = _url(_object(entry, at), at)
        if url in endpoints:
            raise RouteTableError(f"{at}.url", f"{url!r} occurs twice in this revision")
        endpoints.append(url)
    return Revision(
        name=_text(item, "name", path),
        role=Role(role),
        weight=_integer(item, "weight", path, low=0, high=100),
        endpoints=tuple(endpoints),
    )


def _url(item: Mapping[str, Any], path: str) -> str:
    url = _text(item, "url", path)
    scheme, found, rest = url.partition("://")
    authority = rest.removesuffix("/")
    is_plain = authority.isascii() and authority.isprintable()
    if scheme not in ("http", "https") or not found or not authority or not is_plain:
        raise RouteTableError(f"{path}.url", f"{url!r} is not http://HOST[:PORT]")
    if any(character in authority for character in "/?#@ \\"):
        raise RouteTableError(f"{path}.url", f"{url!r} must name scheme, host and port only")
    host, colon, port = authority.rpartition(":")
    has_port = bool(colon) and not authority.endswith("]")
    if has_port and not (host and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise RouteTableError(f"{path}.url", f"{url!r} has no port between 1 and 65535")
    return f"{scheme}://{authority}"


def _timeout_s(item: Mapping[str, Any], path: str) -> float:
    value = item.get("requestTimeoutSeconds", DEFAULT_REQUEST_TIMEOUT_S)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        raise RouteTableError(f"{path}.requestTimeoutSeconds", f"{value!r} is not a number above 0")
    return float(value)


def _object(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RouteTableError(path, f"{_brief(value)} is not an object")
    return value


def _array(item: Mapping[str, Any], key: str, path: str) -> Sequence[object]:
    value = _get(item, key, path)
    if not isinstance(value, list | tuple):
        raise RouteTableError(f"{path}.{key}", f"{_brief(value)} is not an array")
    return value


def _text(item: Mapping[str, Any], key: str, path: str) -> str:
    value = _get(item, key, path)
    if not isinstance(value, str) or not value:
        raise RouteTableError(f"{path}.{key}", f"{_brief(value)} is not a non-empty string")
    return value


def _integer(item: Mapping[str, Any], key: str, path: str, *, low: int, high: int) -> int:
    value = _get(item, key, path)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RouteTableError(
            f"{path}.{key}", f"{_brief(value)} is not an integer from {low} to {high}"
        )
    return value


def _get(item: Mapping[str, Any], key: str, path: str) -> object:
    if key not in item:
        raise RouteTableError(f"{path}.{key}", "is missing")
    return item[key]


def _brief(value: object) -> str:
    """A value short enough for one log line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
