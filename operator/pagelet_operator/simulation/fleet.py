"""A fleet under a trace: requests go to the least loaded replica, a policy resizes it."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pagelet_operator.simulation.engine import Done, Hardware, Replica, Request
from pagelet_operator.simulation.policies import Policy, View

LOOK_S = 15.0
"""Between two questions to a policy; the autoscaler of Kubernetes asks as often."""

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What a request was promised."""

    ttft_s: float = 2.0
    itl_s: float = 0.050


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one policy did."""

    policy: str
    requests: int
    in_slo: float
    """Share of requests, in [0, 1]."""
    replica_hours: float
    mean_replicas: float
    peak_replicas: int
    direction_changes: int
    ttft_p99_s: float


@dataclass(slots=True)
class _Fleet:
    hardware: Hardware
    replicas: list[Replica] = field(default_factory=list)
    retired: list[Replica] = field(default_factory=list)
    held: deque[Request] = field(default_factory=deque)

    def ready(self, now: float) -> list[Replica]:
        return [r for r in self.replicas if r.ready_at <= now]

    def resize(self, wanted: int, now: float) -> None:
        while len(self.replicas) > wanted:
            starting = [r for r in self.replicas if r.ready_at > now]
            gone = starting[-1] if starting else min(self.replicas, key=lambda r: r.load)
            self.replicas.remove(gone)
            self.retired.append(gone)
            gone.ended_at = now if starting else None
        for _ in range(wanted - len(self.replicas)):
            self.replicas.append(Replica(self.hardware, now + self.hardware.cold_start_s, now))


def simulate(
    trace: Sequence[Request],
    policy: Policy,
    *,
    hardware: Hardware,
    slo: Slo,
    start: int = 1,
    limit: int = 8,
) -> Result:
    """Return how a policy does on a trace.

    Args:
        trace: Requests in order of arrival.
        policy: What is asked for the number of replicas.
        hardware: One replica.
        slo: What requests were promised.
        start: Replicas that are ready at the beginning.
        limit: Replicas there is room for.

    Raises:
        ValueError: The trace is empty or not in order of arrival.
    """
    _check(trace)
    fleet = _Fleet(hardware)
    fleet.replicas = [Replica(hardware, 0.0, 0.0) for _ in range(start)]
    done: list[Done] = []
    recent: deque[Done] = deque()
    asked: list[int] = []
    arriving, look_at = iter(trace), 0.0
    coming = next(arriving, None)
    end = trace[-1].at + WINDOW_S
    while look_at <= end:
        while coming is not None and coming.at <= look_at:
            _route(fleet, coming, done, recent)
            coming = next(arriving, None)
        _advance(fleet, look_at, done, recent)
        while recent and recent[0].ended_at < look_at - WINDOW_S:
            recent.popleft()
        wanted = policy.replicas(_view(fleet, recent, look_at, hardware))
        asked.append(max(1, min(limit, wanted)))
        fleet.resize(asked[-1], look_at)
        look_at += LOOK_S
    return _result(policy.name, trace, done, slo, fleet, asked, look_at)


def _check(trace: Sequence[Request]) -> None:
    if not trace:
        raise ValueError("the trace holds no request")
    for earlier, later in pairwise(trace):
        if later.at < earlier.at:
            raise ValueError(
                f"the trace is not in order: a request at {later.at:g} s follows one at "
                f"{earlier.at:g} s; sort it by arrival"
            )


def _route(fleet: _Fleet, request: Request, done: list[Done], recent: deque[Done]) -> None:
    ready = fleet.ready(request.at)
    if not ready:
        fleet.held.append(request)
        return
    for replica in ready:
        _collect(replica.advance(request.at), done, recent)
    while fleet.held:
        min(ready, key=lambda r: r.load).take(fleet.held.popleft())
    min(ready, key=lambda r: r.load).take(request)


def _advance(fleet: _Fleet, now: float, done: list[Done], recent: deque[Done]) -> None:
    for replica in fleet.ready(now):
        _collect(replica.advance(now), done, recent)
    for replica in fleet.retired:
        if replica.ended_at is None:
            _collect(replica.advance(now), done, recent)
            replica.ended_at = None if replica.load else now


def _collect(found: list[Done], done: list[Done], recent: deque[Done]) -> None:
    done.extend(found)
    recent.extend(found)


def _view(fleet: _Fleet, recent: deque[Done], now: float, hardware: Hardware) -> View:
    ready = fleet.ready(now)
    ttfts = sorted(item.ttft_s for item in recent)
    itls = sorted(item.itl_s for item in recent)
    return View(
        now=now,
        asked=len(fleet.replicas),
        ready=len(ready),
        running=sum(r.running for r in ready),
        waiting=sum(len(r.waiting) for r in ready) + len(fleet.held),
        places=hardware.places,
        served_per_s=len(recent) / WINDOW_S,
        in_flight=sum(item.ttft_s + item.itl_s * item.request.output_tokens for item in recent)
        / WINDOW_S,
        tokens_per_s=sum(item.request.output_tokens for item in recent) / WINDOW_S,
        ttft_p99_s=_p99(ttfts),
        itl_p99_s=_p99(itls),
    )


def _p99(values: list[float]) -> float | None:
    return values[math.ceil(0.99 * len(values)) - 1] if len(values) >= 50 else None


def _result(
    name: str,
    trace: Sequence[Request],
    done: list[Done],
    slo: Slo,
    fleet: _Fleet,
    asked: list[int],
    end: float,
) -> Result:
    good = sum(item.ttft_s <= slo.ttft_s and item.itl_s <= slo.itl_s for item in done)
    lives = [*fleet.replicas, *fleet.retired]
    seconds = sum((end if r.ended_at is None else r.ended_at) - r.started_at for r in lives)
    ttfts = sorted(item.ttft_s for item in done)
    return Result(
        policy=name,
        requests=len(trace),
        in_slo=good / len(trace),
        replica_hours=seconds / 3600.0,
        mean_replicas=seconds / end,
        peak_replicas=max(asked),
        direction_changes=_turns(asked),
        ttft_p99_s=_p99(ttfts) or math.inf,
    )


def _turns(asked: list[int]) -> int:
    steps = [b - a for a, b in pairwise(asked) if a != b]
    return sum((a > 0) != (b > 0) for a, b in pairwise(steps))
