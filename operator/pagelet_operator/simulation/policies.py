"""Scaling policies by their documented semantics, each with its own defaults, beside ours.

fixed    always the same number
hpa-queue  HorizontalPodAutoscaler v2, AverageValue of waiting requests; 10 % tolerance, up to
         twice or four more in 15 s, down to the highest wish of 300 s
hpa-busy  the same on utilization: running over places of ready replicas, target 70 %
keda     as hpa-queue, asked every 30 s (pollingInterval), threshold 10
kubeai   mean of requests in flight over 10 minutes over a target per replica
panic    Knative's and AIBrix' KPA: stable window 180 s, panic window 60 s from twice the load
ray-ttft  +1 above the p99 target for 30 s, -1 after 600 s below it with < 1 request per replica
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from pagelet_operator.core.scaling import ScalerState, ScalingPolicy, Seen, decide


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a policy is shown."""

    now: float
    asked: int
    ready: int
    running: int
    waiting: int
    places: int
    served_per_s: float
    in_flight: float
    tokens_per_s: float
    ttft_p99_s: float | None
    itl_p99_s: float | None


class Policy(Protocol):
    """Something that says how many replicas there should be."""

    name: str

    def replicas(self, view: View) -> int:
        """Return the number; the fleet bounds it."""
        ...


@dataclass(slots=True)
class Pagelet:
    """Ours: the scaler of the operator itself."""

    policy: ScalingPolicy
    name: str = "pagelet"
    state: ScalerState = field(default_factory=ScalerState)

    def replicas(self, view: View) -> int:
        """See `Policy`."""
        seen = Seen(
            ready=view.ready, asked=view.asked, at=view.now, answered=view.ready,
            running=float(view.running), waiting=float(view.waiting),
            served_per_s=view.served_per_s, in_flight=view.in_flight,
            tokens_per_s=view.tokens_per_s, ttft_p99_s=view.ttft_p99_s, itl_p99_s=view.itl_p99_s,
        )  # fmt: skip
        decision = decide(self.state, self.policy, seen, view.now)
        self.state = decision.state
        return decision.replicas


@dataclass(slots=True)
class Fixed:
    """Always the same."""

    count: int
    name: str = "fixed"

    def replicas(self, view: View) -> int:
        """See `Policy`."""
        return self.count


@dataclass(slots=True)
class Hpa:
    """HorizontalPodAutoscaler v2 with its default behaviour."""

    name: str
    target: float
    """Waiting requests per replica, or a ratio of places with `busy`."""
    busy: bool = False
    every_s: float = 15.0
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)
    _asked_at: float = -math.inf

    def replicas(self, view: View) -> int:
        """See `Policy`."""
        if view.now - self._asked_at < self.every_s:
            return view.asked
        self._asked_at = view.now
        wish = self._wish(view)
        self._wishes.append((view.now, wish))
        while self._wishes[0][0] < view.now - 300.0:
            self._wishes.popleft()
        if wish >= view.asked:
            return min(wish, max(2 * view.asked, view.asked + 4))
        return min(view.asked, max(count for _, count in self._wishes))

    def _wish(self, view: View) -> int:
        if self.busy:
            # Pods that are not ready count as idle when the number would rise.
            ratio = view.running / max(1, view.ready * view.places) / self.target
            if ratio > 1.0:
                ratio = view.running / max(1, view.asked * view.places) / self.target
                ratio = max(1.0, ratio)
            basis = view.asked if ratio > 1.0 else view.ready
        else:
            ratio, basis = view.waiting / (self.target * max(1, view.asked)), view.asked
        return view.asked if abs(ratio - 1.0) <= 0.1 else max(1, math.ceil(basis * ratio))


@dataclass(slots=True)
class MovingAverage:
    """KubeAI: the mean of requests in flight; fewer only after the wish held for 30 s."""

    target: float
    name: str = "kubeai"
    window_s: float = 600.0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _lower_since: float | None = None

    def replicas(self, view: View) -> int:
        """See `Policy`."""
        self._seen.append((view.now, view.running + view.waiting))
        while self._seen[0][0] < view.now - self.window_s:
            self._seen.popleft()
        wish = math.ceil(sum(n for _, n in self._seen) / len(self._seen) / self.target)
        if wish >= view.asked:
            self._lower_since = None
            return wish
        self._lower_since = view.now if self._lower_since is None else self._lower_since
        return wish if view.now - self._lower_since >= 30.0 else view.asked


@dataclass(slots=True)
class Panic:
    """Knative's pod autoscaler, as AIBrix has it."""

    target: float
    name: str = "panic"
    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _panic_until: float = -math.inf

    def replicas(self, view: View) -> int:
        """See `Policy`."""
        self._seen.append((view.now, view.running + view.waiting))
        while self._seen[0][0] < view.now - 180.0:
            self._seen.popleft()
        stable, quick = self._wish(view.now - 180.0), self._wish(view.now - 60.0)
        if quick >= 2 * max(1, view.ready):
            self._panic_until = view.now + 180.0
        if view.now < self._panic_until:
            return max(view.asked, stable, quick)
        return stable

    def _wish(self, since: float) -> int:
        counts = [count for at, count in self._seen if at >= since]
        return math.ceil(sum(counts) / len(counts) / self.target)


@dataclass(slots=True)
class RayTtft:
    """Ray Serve's TTFT policy: one more while late, one less while idle."""

    target_s: float
    name: str = "ray-ttft"
    _late_since: float | None = None
    _idle_since: float | None = None

    def replicas(self, view: View) -> int:
        """See `Policy`."""
        late = view.ttft_p99_s is not None and view.ttft_p99_s > self.target_s
        idle = not late and (view.running + view.waiting) / max(1, view.ready) < 1.0
        self._late_since = (self._late_since or view.now) if late else None
        self._idle_since = (self._idle_since or view.now) if idle else None
        if self._late_since is not None and view.now - self._late_since >= 30.0:
            self._late_since = view.now
            return view.asked + 1
        if self._idle_since is not None and view.now - self._idle_since >= 600.0:
            self._idle_since = view.now
            return view.asked - 1
        return view.asked
