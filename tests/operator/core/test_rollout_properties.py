"""What holds of every rollout, whatever happens: hypothesis drives spec, replicas and time."""

from math import ceil

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.core.model import Role
from pagelet_operator.core.rollout import Decision, Phase, RolloutState, step

REVISIONS = [f"chat-{letter}" for letter in "abcd"]
MAX_REPLICAS = 4


class RolloutMachine(RuleBasedStateMachine):
    """A world that starts what a decision asks for, slowly and unreliably."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.target = REVISIONS[0]
        self.replicas = 1
        self.state = RolloutState()
        self.before = RolloutState()
        self.fleet: dict[str, int] = {}
        self.roles: dict[str, Role] = {}
        self.broken: set[str] = set()
        self.decision: Decision | None = None
        self.spec_changed = False

    @initialize()
    def first_look(self) -> None:
        self.reconcile()

    def reconcile(self) -> None:
        self.before = self.state
        failures = {name.replace("-", "_"): "broken" for name in self.broken & set(self.fleet)}
        self.seen = a_fleet(self.fleet, self.roles, **failures)
        model = a_model(self.target, replicas=self.replicas)
        self.decision = step(self.state, model, self.seen, self.now)
        self.state = self.decision.state
        self.fleet = {name: self.fleet.get(name, 0) for name in self.decision.roles}
        self.roles = dict(self.decision.roles)

    @rule()
    def memory_is_lost(self) -> None:
        served = self.state.stable
        self.state = RolloutState()
        self.reconcile()
        assert self.state.stable == served or served is None
        assert served is None or self.decision.weights[served] > 0

    @rule()
    def memory_is_lost_and_so_are_the_marks(self) -> None:
        served = {name for name, ready in self.fleet.items() if ready} - self.broken
        self.state, self.roles = RolloutState(), {}
        self.reconcile()
        assert not served or served & set(self.decision.roles)

    @rule(revision=st.sampled_from(REVISIONS))
    def edit_the_spec(self, revision: str) -> None:
        self.target = revision
        self.reconcile()

    @rule(replicas=st.integers(1, MAX_REPLICAS))
    def scale(self, replicas: int) -> None:
        self.replicas = replicas
        self.reconcile()

    @rule(data=st.data(), ready=st.integers(0, MAX_REPLICAS))
    def replicas_come_and_go(self, data: st.DataObject, ready: int) -> None:
        if self.fleet:
            self.fleet[data.draw(st.sampled_from(sorted(self.fleet)))] = ready
        self.reconcile()

    @rule()
    def all_become_ready(self) -> None:
        self.fleet = dict.fromkeys(self.fleet, MAX_REPLICAS)
        self.reconcile()

    @rule(revision=st.sampled_from(REVISIONS[1:]))
    def a_revision_turns_out_broken(self, revision: str) -> None:
        self.broken.add(revision)
        self.reconcile()

    @rule(seconds=st.sampled_from([0.1, 5.0, 30.0, 60.0, 300.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.reconcile()

    @rule()
    def a_burst_of_events_changes_nothing_more(self) -> None:
        self.reconcile()
        weights, roles = self.decision.weights, self.decision.roles
        for _ in range(4):
            self.reconcile()
            assert (self.decision.weights, self.decision.roles) == (weights, roles)

    @invariant()
    def weights_sum_to_100_once_something_serves(self) -> None:
        if self.decision is None:
            return
        total = sum(self.decision.weights.values())
        assert total == (100 if self.state.stable else 0)

    @invariant()
    def whatever_has_traffic_exists(self) -> None:
        if self.decision is not None:
            assert set(self.decision.weights) <= set(self.decision.roles)

    @invariant()
    def a_canary_with_traffic_can_carry_it(self) -> None:
        if self.decision is None or self.state.canary is None:
            return
        weight = self.decision.weights.get(self.state.canary, 0)
        if weight:
            ready = self.seen.ready(self.state.canary)
            assert ready >= max(1, ceil(self.replicas * weight / 100))

    @invariant()
    def there_is_at_most_one_stable_and_one_canary(self) -> None:
        if self.decision is None:
            return
        roles = list(self.decision.roles.values())
        assert roles.count(Role.STABLE) <= 1
        assert roles.count(Role.CANARY) <= 1

    @invariant()
    def a_revision_has_one_role(self) -> None:
        names = [item.revision for item in self.state.retained]
        names += [name for name in (self.state.stable, self.state.canary) if name]
        assert len(names) == len(set(names))

    @invariant()
    def nothing_that_serves_is_lost(self) -> None:
        """Only what the spec asks for is promoted, ready; the stable before it stays warm."""
        if self.before.stable == self.state.stable or self.decision is None:
            return
        if self.before.stable is None and self.marked(self.state.stable):
            return
        if self.before.stable is None and self.seen.ready(self.target) == 0:
            assert self.seen.ready(self.state.stable) >= 1, "adopted for want of another"
            return
        assert self.state.stable == self.target
        assert self.seen.ready(self.state.stable) >= 1
        if self.before.stable is not None:
            assert self.decision.roles[self.before.stable] is Role.RETIRED

    def marked(self, revision: str) -> bool:
        return self.seen.revisions[revision].role is Role.STABLE

    @invariant()
    def while_nothing_is_stable_what_answers_is_not_removed(self) -> None:
        if self.decision is None or self.state.stable is not None:
            return
        answers = {name for name, item in self.seen.revisions.items() if item.ready}
        assert not answers or answers & set(self.decision.roles)

    @invariant()
    def a_broken_revision_never_gets_traffic_from_a_healthy_one(self) -> None:
        if self.decision is None or self.state.canary is None:
            return
        if self.state.canary in self.broken & set(self.seen.revisions):
            assert self.decision.weights.get(self.state.canary, 0) == 0

    @invariant()
    def stable_means_that_the_spec_serves(self) -> None:
        if self.decision is not None and self.state.phase is Phase.STABLE:
            assert self.state.stable == self.target
            assert self.state.canary is None

    @invariant()
    def it_never_asks_to_be_woken_in_the_past(self) -> None:
        if self.decision is not None and self.decision.wake_at is not None:
            assert self.decision.wake_at > self.now

    @invariant()
    def time_alone_changes_it_only_when_it_said_so(self) -> None:
        """Sleeping until `wake_at` misses nothing."""
        if self.decision is None:
            return
        wake = self.decision.wake_at
        until = self.now + 1e6 if wake is None else wake - 1e-3
        if until <= self.now:
            return
        model = a_model(self.target, replicas=self.replicas)
        broken = {name.replace("-", "_"): "broken" for name in self.broken & set(self.fleet)}
        fleet = a_fleet(self.fleet, self.roles, **broken)
        settled = step(self.state, model, fleet, self.now)
        until = min(until, (settled.wake_at or until) - 1e-3)
        later = step(settled.state, model, fleet, max(self.now, until))
        assert (later.weights, later.roles) == (settled.weights, settled.roles)


RolloutMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestRollout = RolloutMachine.TestCase


def test_a_healthy_rollout_always_arrives():
    """From any history of two revisions, with all replicas ready and time, the spec serves."""
    state = RolloutState()
    for target in (REVISIONS[0], REVISIONS[1], REVISIONS[0], REVISIONS[2]):
        now = 0.0
        while state.phase is not Phase.STABLE or state.stable != target:
            fleet = a_fleet(dict.fromkeys(REVISIONS, 1))
            state = step(state, a_model(target), fleet, now).state
            now += 10.0
            assert now < 10 * 60.0 * (len(POLICY.steps) + 1), "never arrives"
