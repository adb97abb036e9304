"""Reads Secrets by name, and only those that a model names.

No right to list or watch Secrets is needed, so a gateway that is broken into gives away the keys
it uses and no others. The price is a look at each about every second, at a bounded rate.
"""

import asyncio
import base64
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from pagelet_gateway.core.key_material import KeyRef, Material, Purpose, SecretRef, read
from pagelet_gateway.sources.kube_api import ApiError, KubeApi
from pagelet_gateway.sources.metrics import SourceMetrics

log = structlog.get_logger("pagelet.gateway")

REFRESH_S = 1.0
"""Between two looks at one Secret, seconds: how soon a new key counts and an old one does not."""

MAX_PER_S = 20.0
"""Most looks per second. With more Secrets than this each is looked at less often; a Secret that
is named for the first time is looked at at once all the same."""

OTHERS_EVERY = 10
"""Turns between two looks at a Secret without tenants' keys: nobody waits for one to be revoked,
and the many keys of gateways leave the rate to those."""

AT_ONCE = 8
"""Most first looks at the same time."""

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
"""What a Secret may be called; nothing else becomes part of a URL."""


class SecretReader:
    """Keeps `keys` like the Secrets that are wanted."""

    def __init__(self, api: KubeApi, changed: Callable[[], None], metrics: SourceMetrics) -> None:
        """Prepare.

        Args:
            api: The API server.
            changed: Called after every change of `keys`.
            metrics: Where failures are counted.
        """
        self.keys: dict[KeyRef, Material] = {}
        self._api = api
        self._changed = changed
        self._metrics = metrics
        self._wanted: dict[SecretRef, tuple[KeyRef, ...]] = {}
        self._new: dict[SecretRef, None] = {}
        self._wake = asyncio.Event()
        self._trouble: str | None = None

    def want(self, refs: Iterable[KeyRef]) -> None:
        """Read these keys from now on, new ones at once, and forget all others."""
        grouped: defaultdict[SecretRef, list[KeyRef]] = defaultdict(list)
        for ref in sorted(refs):
            grouped[ref.secret].append(ref)
        self._wanted = {secret: tuple(named) for secret, named in grouped.items()}
        kept = {ref for named in self._wanted.values() for ref in named}
        self.keys = {ref: found for ref, found in self.keys.items() if ref in kept}
        unread = {ref.secret for ref in kept - self.keys.keys()}
        self._new = {**{s: None for s in self._new if s in self._wanted}, **dict.fromkeys(unread)}
        if self._new:
            self._wake.set()

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_new())
            group.create_task(self._refresh())

    async def _read_new(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._new:
                batch = list(self._new)[:AT_ONCE]
                for secret in batch:
                    del self._new[secret]
                await asyncio.gather(*(self._look(secret) for secret in batch))

    async def _refresh(self) -> None:
        for turn in itertools.count():
            due = self._due(turn)
            for secret in due:
                await asyncio.sleep(max(1.0 / MAX_PER_S, REFRESH_S / len(due)))
                await self._look(secret)
            if not due:
                await asyncio.sleep(REFRESH_S)

    def _due(self, turn: int) -> list[SecretRef]:
        """Return the Secrets to look at: those of tenants each turn, others each tenth."""
        return [
            secret
            for index, (secret, refs) in enumerate(self._wanted.items())
            if index % OTHERS_EVERY == turn % OTHERS_EVERY
            or any(ref.purpose is Purpose.TENANT for ref in refs)
        ]

    async def _look(self, secret: SecretRef) -> None:
        """Read one Secret; what cannot be read stays as it was."""
        try:
            data = await self._data(secret)
        except ApiError as error:
            self._metrics.errors.labels("secrets").inc()
            self._say(str(error))
            unread = Material(trouble=f"Secret {secret.name!r} cannot be read")
            self._learn(secret, lambda ref, before: before or unread)
            return
        self._say(None)
        self._learn(secret, lambda ref, before: read(ref, data, before))

    def _learn(
        self, secret: SecretRef, find: Callable[[KeyRef, Material | None], Material]
    ) -> None:
        changed = False
        for ref in self._wanted.get(secret, ()):
            before = self.keys.get(ref)
            found = find(ref, before)
            if found != before:
                self.keys[ref] = found
                changed = True
        if changed:
            self._changed()

    async def _data(self, secret: SecretRef) -> Mapping[str, bytes] | None:
        if not NAME.match(secret.name) or not NAME.match(secret.namespace):
            return None  # No Secret can have that name.
        encoded = await self._api.secret(secret.namespace, secret.name)
        return None if encoded is None else _decoded(encoded)

    def _say(self, trouble: str | None) -> None:
        """Log once when Secrets cannot be read, and once when they can again."""
        if (trouble is None) == (self._trouble is None):
            return
        self._trouble = trouble
        if trouble is None:
            log.info("secrets can be read again")
        else:
            log.warning("secrets cannot be read; their last keys still count", reason=trouble)


def _decoded(encoded: Mapping[str, Any]) -> dict[str, bytes]:
    found = {}
    for key, value in encoded.items():
        try:
            found[key] = base64.b64decode(value)
        except (ValueError, TypeError):
            continue  # The API server stores none such.
    return found
