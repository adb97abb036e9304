"""One routed request on its way: what is known of it, and how its end is counted."""

import asyncio
import time
from dataclasses import dataclass, field

from pagelet_gateway.core.affinity import Chain
from pagelet_gateway.core.router import Target
from pagelet_gateway.core.tenancy import Caller
from pagelet_gateway.metrics import Metrics, Outcome
from pagelet_gateway.server.exchange import Exchange
from pagelet_gateway.server.peek import Peek
from pagelet_gateway.server.quotas import Grant
from pagelet_gateway.server.sse import EventGate
from pagelet_gateway.server.usage import Usage


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """A request between its routing and its end."""

    exchange: Exchange
    caller: Caller
    """On whose account it runs."""
    seen: Peek
    """What its body says."""
    model: str
    revision: str
    """The one it was dealt to, later the one that answers."""
    body: bytes
    started_at: float
    """Monotonic seconds at arrival."""
    deadline: float
    """Monotonic seconds when its time is up."""
    prefix: Chain = ()
    """Its prompt's beginning, on routes that are aware of it."""
    is_pinned: bool = False
    """Whether a tester named the revision; then no other takes over."""
    attempts: int = 0
    tried: set[str] = field(default_factory=set)
    target: Target | None = None
    """Where the current attempt goes."""
    had_news: bool = False
    """Whether an endpoint failed that was not known to refuse."""
    was_held: bool = False
    """Whether it has waited for a newer table."""
    outcome: Outcome = Outcome.BUG
    grant: Grant | None = None
    """What it was charged at its quotas, until it is settled."""
    gate: EventGate | None = None
    """Counts the events of a streamed answer, once there is one."""
    usage: Usage | None = None
    """What a whole answer says it used."""
    task: asyncio.Task[None] | None = None
    cut_for: str | None = None
    """Why the gateway itself ends it early."""

    def remaining_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.deadline - time.monotonic()

    def cut(self, reason: str) -> None:
        """End it now; an open stream gets an error event that names the reason."""
        if self.task is not None and self.cut_for is None:
            self.cut_for = reason
            self.task.cancel()

    def count(self, metrics: Metrics) -> None:
        """Count how it ended."""
        metrics.requests.labels(self.model, self.revision, self.outcome).inc()
        if self.outcome is Outcome.OK:
            elapsed_s = time.monotonic() - self.started_at
            metrics.e2e.labels(self.model, self.revision).observe(elapsed_s)
