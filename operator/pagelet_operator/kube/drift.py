"""Does an object in the cluster differ from what we apply? Pure, so that a reconcile of a
world that is as planned sends no write at all.

Two questions, as in server-side apply
(https://kubernetes.io/docs/reference/using-api/server-side-apply/): is every field that we
want there with our value, whatever others added beside it; and do we still own a field that
we no longer want? Values are compared as the API server stores them: an empty value equals
an absent one, and a quantity equals every spelling of the same amount.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from pagelet_operator.kube.api import FIELD_MANAGER

_LIST_KEYS = ("uid", "mountPath", "name")
"""What tells the items of a keyed list apart: owner references, mounts, all others."""

_QUANTITY_PARENTS = ("requests", "limits")

_SUFFIXES = {
    "n": Decimal(10) ** -9, "u": Decimal(10) ** -6, "m": Decimal(10) ** -3, "": Decimal(1),
    "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12, "P": Decimal(10) ** 15, "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40, "Pi": Decimal(2) ** 50, "Ei": Decimal(2) ** 60,
}  # fmt: skip


def differs(desired: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Say whether applying `desired` would change `live`."""
    return not _covers(live, desired) or any(_abandoned(desired, live))


def amount(quantity: str) -> Decimal | None:
    """Return the number a quantity stands for, or None if it is none."""
    digits = quantity.rstrip("numkMGTPEi")
    try:
        return Decimal(digits) * _SUFFIXES[quantity[len(digits) :]]
    except (InvalidOperation, KeyError):
        return None


def _covers(live: Any, desired: Any, parent: str = "") -> bool:
    if live is None:
        return desired in (None, "", [], {}, 0, False)
    match desired:
        case Mapping():
            same = _same_amount if parent in _QUANTITY_PARENTS else _covers
            return isinstance(live, Mapping) and all(
                same(live.get(key), value, key) for key, value in desired.items()
            )
        case list():
            return isinstance(live, list) and _covers_list(live, desired)
        case _:
            return bool(live == desired)


def _covers_list(live: Sequence[Any], desired: Sequence[Any]) -> bool:
    key = _list_key(desired)
    if key is None:
        # Atomic: the list is ours as a whole.
        return len(live) == len(desired) and all(map(_covers, live, desired))
    by_key = {item.get(key): item for item in live if isinstance(item, Mapping)}
    return all(_covers(by_key.get(item[key]), item) for item in desired)


def _list_key(items: Sequence[Any]) -> str | None:
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    return next((key for key in _LIST_KEYS if all(key in item for item in items)), None)


def _same_amount(live: Any, desired: Any, _name: str) -> bool:
    if live is None:
        return False
    return live == desired or amount(str(live)) == amount(str(desired)) is not None


def _abandoned(desired: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[str]:
    for entry in live["metadata"].get("managedFields", ()):
        ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        if ours and "subresource" not in entry:
            yield from _not_wanted(entry.get("fieldsV1", {}), desired, "")


def _not_wanted(fields: Mapping[str, Any], desired: Any, path: str) -> Iterator[str]:
    """Yield the paths we own that `desired` lacks. Format: `f:` field, `k:` keyed item."""
    for token, inner in fields.items():
        kind, _, name = token.partition(":")
        here = f"{path}.{name}"
        if kind == "f":
            if not isinstance(desired, Mapping) or name not in desired:
                yield here
            else:
                yield from _not_wanted(inner, desired[name], here)
        elif kind == "k":
            item = _item(desired, json.loads(name))
            if item is None:
                yield here
            else:
                yield from _not_wanted(inner, item, here)


def _item(items: Any, keys: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if not isinstance(items, list):
        return None
    # A key the server defaulted, such as a port's protocol, is absent from what we wrote.
    return next(
        (i for i in items if all(i.get(key, value) == value for key, value in keys.items())), None
    )
