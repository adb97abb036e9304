"""Prefix affinity: requests that begin alike go to the engine that has computed that beginning.

A prompt's beginning is cut into blocks, each hashed together with all before it, so equal hashes
mean equal beginnings. The endpoint that was sent the longest known beginning is chosen, unless
it carries more than its bounded share of the load: then, and for beginnings nobody remembers,
rendezvous hashing names the endpoint, the same one in every gateway replica.

Sources: consistent hashing with bounded loads, Mirrokni, Thorup, Zadimoghaddam (2016);
rendezvous hashing, Thaler & Ravishankar (1998).
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

BLOCK_BYTES = 256
"""About 64 tokens: a few blocks of an engine's cache, small enough to tell chats apart."""

MAX_BLOCKS = 32
"""8 KiB are looked at; what begins alike for that long has most of its cost in common."""

LOAD_FACTOR = 1.25
"""No endpoint is chosen for its cache above this multiple of the mean load. Lower evens out
queues, higher keeps more hits; 1.25 is the value of the bounded-loads literature."""

CAPACITY = 32_768
"""Blocks remembered, about 5 MiB; the least recently used are forgotten first."""

Chain = tuple[bytes, ...]
"""Hashes of a prompt's beginning, shortest first."""


def chain(prefix: bytes, salt: bytes) -> Chain:
    """Hash a prompt's beginning block by block.

    Args:
        prefix: The prompt's first bytes; a last block that is not full is left out, since the
            next turn of the conversation would have another one in its place.
        salt: What engines' caches are separated by (model and tenant).
    """
    hashes = []
    last = blake2b(salt, digest_size=16).digest()
    end = min(len(prefix), MAX_BLOCKS * BLOCK_BYTES) // BLOCK_BYTES * BLOCK_BYTES
    for start in range(0, end, BLOCK_BYTES):
        block = prefix[start : start + BLOCK_BYTES]
        last = blake2b(block, digest_size=16, key=last).digest()
        hashes.append(last)
    return tuple(hashes)


@dataclass(slots=True)
class Affinity:
    """Remembers which endpoint was sent which beginnings."""

    capacity: int = CAPACITY
    _owners: OrderedDict[bytes, str] = field(default_factory=OrderedDict)

    def choose(self, prefix: Chain, loads: Mapping[str, int]) -> str:
        """Choose an endpoint for a prompt that begins with `prefix`.

        Guarantees: the chosen endpoint's load with this request is at most `LOAD_FACTOR`
        times the mean, rounded up.

        Args:
            prefix: At least one block.
            loads: Load by endpoint; at least one.
        """
        bound = math.ceil(LOAD_FACTOR * (sum(loads.values()) + 1) / len(loads))
        for block in reversed(prefix):
            owner = self._owners.get(block)
            if owner is not None and owner in loads and loads[owner] < bound:
                return owner
        within = [url for url in loads if loads[url] < bound]
        assert within, "the least loaded endpoint is always within the bound"
        return max(within, key=lambda url: (_score(prefix[0], url), url))

    def remember(self, prefix: Chain, url: str) -> None:
        """Note that `url` computes this prompt.

        A beginning stays with its first owner: one that many prompts share would otherwise
        follow whichever came last.
        """
        for block in prefix:
            self._owners.setdefault(block, url)
            self._owners.move_to_end(block)
        while len(self._owners) > self.capacity:
            self._owners.popitem(last=False)

    def forget(self, url: str) -> None:
        """Forget what `url` was sent: it left, and its cache with it. O(capacity)."""
        for block in [block for block, owner in self._owners.items() if owner == url]:
            del self._owners[block]


def _score(block: bytes, url: str) -> bytes:
    return blake2b(url.encode(), digest_size=8, key=block).digest()
