"""Names the caller of a request from the key it brings, or refuses it."""

import hashlib
from collections.abc import Mapping

from pagelet_gateway.core.route_table import ModelRoute, RouteTable
from pagelet_gateway.core.tenancy import Caller, Denial, Directory
from pagelet_gateway.errors import InvalidKeyError, MissingKeyError, UnknownModelError

_KEY_HEADERS = (b"api-key", b"x-api-key")
"""Where clients of other APIs put their key; `Authorization: Bearer` comes first."""


class Gatekeeper:
    """Applies the tenants of the table that is obeyed at the moment of each request.

    A key that was revoked refuses the next request; streams it has opened go on, since they
    were paid for when they began and cutting them would look like a fault.
    """

    def __init__(self, *, require_keys: bool) -> None:
        self._require_keys = require_keys
        self._table: RouteTable | None = None
        self._directory: Directory

    def caller(self, table: RouteTable, headers: Mapping[bytes, bytes], model: str) -> Caller:
        """Return who asks for `model`.

        Raises:
            MissingKeyError: The name is not open to everybody, and there is no key.
            InvalidKeyError: The key is nobody's.
            UnknownModelError: There is no such model, as far as this key is concerned.
        """
        digest = digest_of(headers)
        found = self._index(table).find(model, digest)
        if isinstance(found, Caller):
            return found
        if found is Denial.NO_SUCH_MODEL:
            names = ", ".join(route.name for route in self._index(table).visible(digest)) or "none"
            raise UnknownModelError(
                f"The model {model[:200]!r} does not exist here; models: {names}.", param="model"
            )
        raise _no_entry(digest)

    def visible(self, table: RouteTable, headers: Mapping[bytes, bytes]) -> list[ModelRoute]:
        """Return the models the key may use, by name.

        Raises:
            MissingKeyError: Nothing is open to everybody, and there is no key.
            InvalidKeyError: Nothing is open to everybody, and the key is nobody's.
        """
        refusal = self.refusal(table, headers)
        if refusal is not None:
            raise refusal
        return self._index(table).visible(digest_of(headers))

    def refusal(
        self, table: RouteTable, headers: Mapping[bytes, bytes]
    ) -> MissingKeyError | InvalidKeyError | None:
        """Return why this key opens nothing at all here; None if it opens something."""
        index = self._index(table)
        # A digest costs a microsecond; where anything is open there is no need of it yet.
        if not index.has_open and index.is_stranger(digest_of(headers)):
            return _no_entry(digest_of(headers))
        return None

    def _index(self, table: RouteTable) -> Directory:
        if table is not self._table:
            self._directory = Directory(table, require_keys=self._require_keys)
            self._table = table
        return self._directory


def digest_of(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the SHA-256 hex digest of the key a request brings; None without one."""
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not key.strip():
        key = next((headers[name] for name in _KEY_HEADERS if headers.get(name)), b"")
    return hashlib.sha256(key.strip()).hexdigest() if key.strip() else None


def _no_entry(digest: str | None) -> MissingKeyError | InvalidKeyError:
    if digest is None:
        return MissingKeyError(
            "There is no API key, and nothing by this name is open without one; send a key as "
            "'Authorization: Bearer KEY'."
        )
    return InvalidKeyError("The API key is not known here; it may have been revoked.")
