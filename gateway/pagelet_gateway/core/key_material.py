"""What Secrets hold for a route: tenants' keys as hashes, other keys as they are. Pure.

A Secret that is gone keeps what it held last: taking the keys of everybody away because an
object is missing for a moment would be an outage, and a Secret that comes back with other
content replaces it. To revoke a key, change the Secret: a line that is no longer there counts
no longer.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Purpose(StrEnum):
    """What a key in a Secret is for."""

    TENANT = "tenant"
    """API keys of a tenant, one per line: only their hashes are kept."""
    SHOWN = "shown"
    """One key that the gateway itself shows to somebody: it is kept as it is."""


@dataclass(frozen=True, slots=True, order=True)
class SecretRef:
    """A Secret by name."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True, order=True)
class KeyRef:
    """One key of a Secret, and what it is for."""

    secret: SecretRef
    key: str
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Material:
    """What a key of a Secret holds, as last seen."""

    hashes: frozenset[str] = frozenset()
    """Of a tenant's keys: lower-case SHA-256 hex digests."""
    text: str | None = field(default=None, repr=False)
    """Of a key that is shown; None while none is known."""
    trouble: str | None = None
    """What is wrong with it, as a sentence; None when all is well."""


def read(ref: KeyRef, data: Mapping[str, bytes] | None, before: Material | None) -> Material:
    """Return what a Secret holds for `ref`.

    Args:
        ref: Which key, and what for.
        data: The Secret's content by key; None if there is no such Secret.
        before: What was known before; kept while the Secret is gone.
    """
    if data is None:
        known = before or Material()
        kept = "; what it held last still counts" if known.hashes or known.text else ""
        return replace(known, trouble=f"Secret {ref.secret.name!r} does not exist{kept}")
    if ref.key not in data:
        return Material(trouble=f"Secret {ref.secret.name!r} has no key {ref.key!r}")
    try:
        lines = [line.strip() for line in data[ref.key].decode().splitlines()]
    except UnicodeDecodeError:
        return Material(trouble=f"Secret {ref.secret.name!r}: {ref.key!r} is not UTF-8 text")
    return _understood(ref, [line for line in lines if line])


def _understood(ref: KeyRef, keys: list[str]) -> Material:
    if not keys:
        return Material(trouble=f"Secret {ref.secret.name!r}: {ref.key!r} is empty")
    if ref.purpose is Purpose.TENANT:
        return Material(hashes=frozenset(hashlib.sha256(key.encode()).hexdigest() for key in keys))
    if len(keys) > 1 or not keys[0].isascii() or not keys[0].isprintable():
        return Material(trouble=f"Secret {ref.secret.name!r}: {ref.key!r} is not one line of ASCII")
    return Material(text=keys[0])
