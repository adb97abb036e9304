"""Carries one probe from its first request to its finding, without sending anything itself."""

from dataclasses import dataclass, field

from pagelet_bench.core.check.exchange import Exchange, Request
from pagelet_bench.core.check.target import CHAT, COMPLETIONS, Target
from pagelet_bench.core.check.verdict import (
    MAX_REQUESTS,
    Finding,
    JudgedError,
    Probe,
    Steps,
    untestable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A probe with its finding and the exchanges behind it, in order."""

    probe: Probe
    finding: Finding
    exchanges: tuple[Exchange, ...] = ()


@dataclass(slots=True)
class Trial:
    """A probe under way.

    Attributes:
        request: What to send next; None once `finding` is there.
    """

    probe: Probe
    target: Target
    request: Request | None = None
    finding: Finding | None = None
    exchanges: list[Exchange] = field(default_factory=list)
    _steps: Steps | None = None

    def __post_init__(self) -> None:
        self._steps = self.probe.steps(self.target)
        self._advance(None)

    def take(self, exchange: Exchange) -> None:
        """Take the answer to `request`."""
        assert self.request is not None, "the probe has its finding"
        self.exchanges.append(exchange)
        assert len(self.exchanges) <= MAX_REQUESTS, f"{self.probe.id} asks too much"
        self._advance(exchange)

    def outcome(self) -> Outcome:
        """Return the result of a probe that has come to its end."""
        assert self.finding is not None, "the probe has no finding yet"
        return Outcome(probe=self.probe, finding=self.finding, exchanges=tuple(self.exchanges))

    def _advance(self, exchange: Exchange | None) -> None:
        assert self._steps is not None
        try:
            request = next(self._steps) if exchange is None else self._steps.send(exchange)
        except StopIteration as end:
            self.request, self.finding = None, end.value
        except JudgedError as end:
            self.request, self.finding = None, end.finding
        else:
            self._need_route(request)

    def _need_route(self, request: Request) -> None:
        """Ask nothing of a route that is known not to be there."""
        missing = {CHAT: not self.target.has_chat, COMPLETIONS: not self.target.has_completions}
        if missing.get(request.path, False):
            self.request, self.finding = None, untestable(f"{request.path} does not answer here")
        else:
            self.request = request
