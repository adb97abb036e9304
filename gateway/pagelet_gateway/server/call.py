"""One routed request on its way: what is known of it, and how its end is counted."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pagelet_gateway.core.affinity import Chain
from pagelet_gateway.core.retry import Failure
from pagelet_gateway.core.router import Target
from pagelet_gateway.core.tenancy import Caller
from pagelet_gateway.metrics import Metrics, Outcome
from pagelet_gateway.server.exchange import Exchange
from pagelet_gateway.server.peek import Peek
from pagelet_gateway.server.quotas import Grant
from pagelet_gateway.server.sse import EventGate
from pagelet_gateway.server.upstream import Answer
from pagelet_gateway.server.usage import Usage
from pagelet_gateway.server.verdicts import Verdicts

if TYPE_CHECKING:
    from pagelet_gateway.server.stopwatch import Stopwatch


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
    is_hurried: bool = False
    """Whether the client gave it less time than the model has; running out of it says nothing
    about an engine."""
    asked_at: float = 0.0
    """Monotonic seconds when the current attempt began."""
    prefix: Chain = ()
    """Its prompt's beginning, on routes that are aware of it."""
    is_pinned: bool = False
    """Whether a tester named the revision; then no other takes over."""
    dealt_to: str = ""
    """The revision its attempts begin at."""
    attempts: int = 0
    tried: set[str] = field(default_factory=set)
    spent: set[str] = field(default_factory=set)
    """Names of fallbacks not to go to again."""
    num_hops: int = 0
    """Gateways it has passed before this one."""
    target: Target | None = None
    """Where the current attempt goes, later who answers."""
    failure: Failure | None = None
    """How the last attempt failed."""
    spare: tuple[Target, Answer] | None = None
    """An engine's own error, open, for when nobody has a better answer."""
    verdicts: Verdicts | None = None
    stopwatch: "Stopwatch | None" = None
    """Measures the current attempt."""
    is_engine_to_blame: bool = False
    """Whether the answer broke off because of the engine."""
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
    ttft_s: float | None = None
    """From its arrival to the first event with a token."""
    task: asyncio.Task[None] | None = None
    cut_for: str | None = None
    """Why the gateway itself ends it early."""

    def remaining_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.deadline - time.monotonic()

    @property
    def awaits_first_token(self) -> bool:
        """Whether a stream was asked for and no token came yet; a whole answer has no first one."""
        return self.seen.is_stream and self.ttft_s is None

    @property
    def never_began(self) -> bool:
        """Whether its time was up before the first byte of an answer."""
        return self.outcome is Outcome.TIMEOUT and not self.exchange.is_started

    def went_well(self, *, is_excused: bool) -> bool | None:
        """What its end says about the engine asked last; None if nothing.

        Args:
            is_excused: Whether running out of time is not that engine's fault.
        """
        if self.outcome in (Outcome.OK, Outcome.CLIENT_ERROR):
            return True
        is_too_slow = self.never_began and not is_excused
        return False if is_too_slow or self.is_engine_to_blame else None

    def cut(self, reason: str) -> None:
        """End it now; an open stream gets an error event that names the reason."""
        if self.task is not None and self.cut_for is None:
            self.cut_for = reason
            self.task.cancel()

    def count(self, metrics: Metrics) -> None:
        """Count how it ended."""
        metrics.count_end(self.model, self.revision, self.outcome, time.monotonic())
        if self.dealt_to not in ("", self.revision):
            metrics.handed_over.labels(self.model, self.dealt_to).inc()
        if self.outcome is Outcome.OK:
            elapsed_s = time.monotonic() - self.started_at
            metrics.e2e.labels(self.model, self.revision).observe(elapsed_s)
            self._count_lengths(metrics)

    def _count_lengths(self, metrics: Metrics) -> None:
        usage = self.usage or (self.gate.usage if self.gate is not None else None)
        if usage is not None:
            labels = self.model, self.revision
            metrics.prompt_tokens.labels(*labels).observe(usage.prompt_tokens)
            metrics.output_tokens.labels(*labels).observe(usage.output_tokens)
