"""Whether an engine was seen at work while it kept one request waiting.

A whole answer has no first byte until it is done, so a request for a long one runs out of time at
an engine that does nothing wrong. An engine that stands still is silent to everybody.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(slots=True)
class Liveness:
    """When each endpoint last sent a byte of any answer. Times are monotonic seconds."""

    _heard_at: dict[str, float] = field(default_factory=dict)

    def hear(self, url: str, now: float) -> None:
        """Take it that the engine at `url` sent something."""
        self._heard_at[url] = now

    def was_heard_since(self, url: str, at: float) -> bool:
        """Whether it sent anything after `at`."""
        return self._heard_at.get(url, -math.inf) > at

    def keep_only(self, urls: Collection[str]) -> None:
        """Forget endpoints outside `urls`."""
        for url in [url for url in self._heard_at if url not in urls]:
            del self._heard_at[url]
