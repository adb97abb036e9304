"""The keys that open the engines' metrics: read from the models' own Secrets, kept in memory.

Engines tell their queue, cache and tokens to who brings the key that they know gateways by. The
alternative, a port of their own without a key, would tell every pod of the cluster. So the
operator reads the one Secret it makes for each model, by name, of models it was asked about
lately, and forgets it again; its rights stay as they were.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import SECRETS, Api, ApiError, Object
from pagelet_operator.kube.manifests import GATEWAY_KEY, gateway_key_name

REFRESH_S = 60.0
"""How old a key may be, seconds: who replaces it is followed within about a minute, as engines
and gateways do."""

RETRY_S = 5.0
"""Between two looks for keys that are missing or old, seconds."""

FORGET_S = 900.0
"""Keys of models nobody asked about for so long are forgotten: three resyncs."""


class EngineKeys:
    """`telemetry.scrape.EngineKey` for a cluster; run `run` beside it.

    Args:
        api: The API server.
        clock: Seconds, rising.
    """

    def __init__(self, api: Api, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._wanted: dict[ModelRef, float] = {}
        self._keys: dict[ModelRef, str | None] = {}
        self._read_at: dict[ModelRef, float] = {}

    def __call__(self, ref: ModelRef) -> str | None:
        """Return the model's key; None until it is read, and where there is none."""
        self._wanted[ref] = self._clock()
        return self._keys.get(ref)

    async def run(self) -> None:
        """Read keys until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(RETRY_S)

    async def refresh(self) -> None:
        """Read the keys that are missing or old; one that cannot be read stays as it was."""
        now = self._clock()
        for ref, asked_at in list(self._wanted.items()):
            if asked_at < now - FORGET_S:
                for known in (self._wanted, self._keys, self._read_at):
                    known.pop(ref, None)
            elif self._keys.get(ref) is None or self._read_at[ref] <= now - REFRESH_S:
                await self._read(ref, now)

    async def _read(self, ref: ModelRef, now: float) -> None:
        try:
            found = await self._api.get(SECRETS, ref.namespace, gateway_key_name(ref.name))
        except ApiError:
            return  # The engines' figures are missing meanwhile; the next look asks again.
        self._keys[ref] = None if found is None else key_in(found)
        self._read_at[ref] = now


def key_in(secret: Object) -> str | None:
    """Return the key that a Secret holds, as engines read it; None if it holds none."""
    try:
        text = base64.b64decode(secret.get("data", {})[GATEWAY_KEY], validate=True).decode("ascii")
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    # A header carries it: one word of printable letters.
    words = text.split()
    return words[0] if words and words[0].isprintable() else None
