"""Who may use which model, by the digest of the key a request brings.

Keys are looked up by their SHA-256 digest, so nothing here holds a key, and how long a look-up
takes depends on the digest alone, of which a client can choose nothing it wants.

What a stranger can learn: a name that is not open to everybody gives 401 without a valid key,
whether a model has it or not; with a key that is valid elsewhere it gives the same 404 as a
name that no model has.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pagelet_gateway.core.route_table import ModelRoute, RouteTable, Tenant

ID_CHARS = 32
"""Of 64 hex digits: 128 bits, so no two tenants share an id."""


class Denial(StrEnum):
    """Why a request gets no model; the value is the error code."""

    NO_KEY = "missing_api_key"
    WRONG_KEY = "invalid_api_key"
    NO_SUCH_MODEL = "model_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who uses a model, on whose account."""

    route: ModelRoute
    """The model that was asked for."""
    tenant: Tenant | None
    """None where everybody may come in."""

    @property
    def opaque_id(self) -> str | None:
        """What engines and logs know the tenant by; see `opaque_id`."""
        return opaque_id(self.route.resource, self.tenant.name) if self.tenant else None

    @property
    def label(self) -> str:
        """The tenant's name as a metric label; empty where everybody may come in."""
        return self.tenant.name if self.tenant else ""

    @property
    def may_choose_revision(self) -> bool:
        """Whether the header x-pagelet-revision counts."""
        return self.tenant is not None and self.tenant.may_choose_revision


@lru_cache(maxsize=4096)
def opaque_id(resource: str, tenant: str) -> str:
    """Return a tenant's id: the same on every replica, and not its name.

    It keeps names out of logs and engines. It is no secret: whoever can guess a name can
    compute it, so nobody is let in by it.
    """
    named = f"{len(resource)}:{resource}{tenant}".encode()
    return hashlib.sha256(b"pagelet-tenant:" + named).hexdigest()[:ID_CHARS]


class Directory:
    """The tenants of one route table."""

    def __init__(self, table: RouteTable, *, require_keys: bool = False) -> None:
        """Index the table.

        Args:
            table: Its models, each with tenants or without.
            require_keys: Whether a model without tenants is closed to all instead of open.
        """
        self._table = table
        self._closed: dict[str, Mapping[str, Tenant]] = {}
        for name, route in table.models.items():
            if route.tenants is not None or require_keys:
                self._closed[name] = _by_digest(route)
        self._known = frozenset().union(*self._closed.values())
        self._is_open = not self._closed and not require_keys
        self.has_open = self._is_open or len(self._closed) < len(table.models)
        """Whether anything is open to everybody."""

    def find(self, model: str, digest: str | None) -> Caller | Denial:
        """Decide on a request.

        Args:
            model: The name it asks for.
            digest: Lower-case SHA-256 hex digest of its key; None without a key.
        """
        tenants = self._closed.get(model)
        route = self._table.models.get(model)
        if route is not None and tenants is None:
            return Caller(route=route, tenant=None)
        tenant = tenants.get(digest) if tenants and digest else None
        if route is not None and tenant is not None:
            return Caller(route=route, tenant=tenant)
        if self._is_open or digest in self._known:
            return Denial.NO_SUCH_MODEL
        return Denial.NO_KEY if digest is None else Denial.WRONG_KEY

    def visible(self, digest: str | None) -> list[ModelRoute]:
        """Return the models a key may use, by name; without one those open to everybody."""
        names = sorted(self._table.models)
        return [self._table.models[name] for name in names if self._is_visible(name, digest)]

    def is_stranger(self, digest: str | None) -> bool:
        """Whether nothing here is open to this key."""
        return not self.has_open and digest not in self._known

    def _is_visible(self, model: str, digest: str | None) -> bool:
        tenants = self._closed.get(model)
        return tenants is None or digest in tenants


def _by_digest(route: ModelRoute) -> Mapping[str, Tenant]:
    return {digest: tenant for tenant in route.tenants or () for digest in tenant.key_hashes}
