"""A fleet as a fluid: load in, readings out. Obvious enough to check the scaler against."""

from dataclasses import dataclass, field

from pagelet_operator.core.scaling import ScalerState, ScalingPolicy, Seen, decide


@dataclass
class Fluid:
    """Replicas that compute `places` sequences at once and start in `cold_start_s`.

    Attributes:
        queue: Sequences that wait.
        asked: Replicas decided so far, one per look.
    """

    policy: ScalingPolicy
    cold_start_s: float = 120.0
    service_s: float = 10.0
    ready: int = 1
    queue: float = 0.0
    now: float = 0.0
    state: ScalerState = field(default_factory=ScalerState)
    starting: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def look(self, demand, distort=lambda seen: seen):
        """Let one interval pass under a load of `demand` sequences at once; return the decision."""
        self.now += self.policy.interval_s
        self.ready += sum(at <= self.now for at in self.starting)
        self.starting = [at for at in self.starting if at > self.now]
        decision = decide(self.state, self.policy, distort(self._flow(demand)), self.now)
        self.state = decision.state
        self._carry_out(decision.replicas)
        self.asked.append(decision.replicas)
        self.reasons.append(decision.reason)
        return decision

    def _flow(self, demand):
        room = self.ready * self.policy.places
        wanted = demand + self.queue * self.service_s / self.policy.interval_s
        running = min(room, wanted)
        grown = (demand - running) * self.policy.interval_s / self.service_s
        self.queue = max(0.0, self.queue + grown)
        self.served = [*self.served[-3:], running / self.service_s]
        served = sum(self.served) / len(self.served)
        return Seen(
            ready=self.ready,
            asked=self.ready + len(self.starting),
            at=self.now,
            answered=self.ready,
            running=running,
            waiting=self.queue,
            kv_usage=min(1.0, running / max(1, room)) * 0.8,
            served_per_s=served,
            in_flight=running + self.queue,
            tokens_per_s=running * 20.0,
            ttft_p99_s=0.1 + (self.queue / served if served else 0.0),
            itl_p99_s=0.02,
        )

    def _carry_out(self, replicas):
        surplus = self.ready + len(self.starting) - replicas
        while surplus > 0 and self.starting:
            self.starting.pop()
            surplus -= 1
        self.ready -= max(0, surplus)
        missing = replicas - self.ready - len(self.starting)
        self.starting += [self.now + self.cold_start_s] * max(0, missing)


def direction_changes(asked):
    """Return the indices at which the number of replicas turns from rising to falling or back."""
    turns, before = [], 0
    for index in range(1, len(asked)):
        step = asked[index] - asked[index - 1]
        if step and before and (step > 0) != (before > 0):
            turns.append(index)
        before = step or before
    return turns
