"""What holds of every rollout, whatever happens: hypothesis drives spec, world, people and time."""

from dataclasses import replace
from math import ceil

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from operator_models import POLICY, a_fleet, a_model
from pagelet_operator.api.memory import rollout_status
from pagelet_operator.api.memory import state as remembered
from pagelet_operator.core.analysis import AnalysisPolicy, Judgement, Verdict
from pagelet_operator.core.conditions import conditions
from pagelet_operator.core.model import Capacity, Fleet, Model, Role, Strategy
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import (
    Command,
    CommandKind,
    Decision,
    Observations,
    Phase,
    RolloutState,
    step,
)

REVISIONS = [f"chat-{letter}" for letter in "abcd"]
MAX_REPLICAS = 4
INTERVAL_S = 15.0
HAS_TRAFFIC = (Phase.PROGRESSING, Phase.AWAITING_APPROVAL, Phase.PROMOTING)

policies = st.builds(
    replace,
    st.just(POLICY),
    steps=st.tuples(*(st.builds(replace, st.just(s), approval=st.booleans()) for s in POLICY.steps))
    | st.just(POLICY.steps),
    strategy=st.sampled_from([Strategy.CANARY] * 4 + [Strategy.BLUE_GREEN, Strategy.RECREATE]),
    capacity=st.sampled_from(Capacity),
    gated=st.booleans(),
    analysis=st.none() | st.just(AnalysisPolicy(interval_s=INTERVAL_S, failure_limit=2)),
)


class RolloutMachine(RuleBasedStateMachine):
    """A world that starts what a decision asks for, slowly and unreliably, and people in it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.target = REVISIONS[0]
        self.replicas = 1
        self.policy = POLICY
        self.state = RolloutState()
        self.before = RolloutState()
        self.ready: dict[str, int] = {}
        self.roles: dict[str, Role] = {}
        self.planned: dict[str, int] = {}
        self.broken: set[str] = set()
        self.short: set[str] = set()
        self.gates: Verdict | None = None
        self.needed: int | None = None
        self.commands = 0
        self.command: Command | None = None
        self.obeyed = False
        self.judged: Verdict | None = None
        self.let_through: set[str] = set()
        self.taken_back = False
        self.decision: Decision | None = None
        self.shares: dict[str, int] = {}

    @initialize(
        policy=policies,
        replicas=st.integers(1, MAX_REPLICAS),
        needed=st.none() | st.integers(0, MAX_REPLICAS),
        looks=st.integers(0, 3),
        short=st.booleans(),
    )
    def a_rollout_has_begun(self, policy, replicas, needed, looks, short) -> None:
        """Most of what can go wrong is in the middle, so that is where most stories start."""
        self.policy, self.replicas, self.needed = policy, replicas, needed
        self.reconcile()
        if looks:
            self.all_become_ready()
            self.short = set(REVISIONS[1:]) if short else set()
            self.gates = Verdict.PASS
            self.edit_the_spec(REVISIONS[1])
        for _ in range(looks):
            self.all_become_ready()

    def model(self) -> Model:
        return a_model(self.target, replicas=self.replicas, rollout=self.policy)

    def fleet(self) -> Fleet:
        failures = {n.replace("-", "_"): "broken" for n in self.broken & set(self.ready)}
        fleet = a_fleet(self.ready, self.roles, self.planned, **failures)
        return Fleet(
            {
                name: replace(item, short="Insufficient nvidia.com/gpu")
                if name in self.short
                else item
                for name, item in fleet.revisions.items()
            }
        )

    def observations(self) -> Observations:
        judgement = None
        if self.judged is not None:
            judgement = Judgement(verdict=self.judged, message="because")
        return Observations(
            canary=self.state.canary,
            measured=True,
            judgement=judgement,
            judged_at=None if self.judged is None else self.now,
            gates=self.gates,
            command=self.command,
            needed=self.needed,
        )

    def reconcile(self) -> None:
        self.before = self.state
        self.shares = {} if self.decision is None else self.decision.weights
        self.taken_back &= self.state.canary is not None
        self.seen, self.sensed = self.fleet(), self.observations()
        self.model_seen = self.model()
        self.outcome = decide(self.model_seen, self.state, self.seen, self.now, self.sensed)
        self.decision = self.outcome.decision
        self.state = self.decision.state
        answers_again = self.state.canary != self.before.canary
        if answers_again and self.shares.get(self.state.canary or ""):
            self.taken_back = True
        answer = self.state.answer
        self.obeyed = answer is not None and answer != self.before.answer and answer.accepted
        if self.obeyed or self.gates is Verdict.PASS:
            self.let_through.add(self.before.canary or "")
            self.let_through.add(self.state.canary or "")
        counts = {item.revision: item.replicas for item in self.outcome.plan.revisions}
        self.ready = {name: min(self.ready.get(name, 0), n) for name, n in counts.items()}
        self.roles, self.planned = dict(self.decision.roles), counts
        self.judged = None
        event(f"{self.state.shown_phase}, {self.state.capacity or 'Surge'}")

    @rule()
    def the_operator_restarts(self) -> None:
        assert remembered(rollout_status(self.state).model_dump(by_alias=True)) == self.state

    @rule()
    def memory_is_lost(self) -> None:
        remembered_before = self.state
        served, was = self.state.stable, self.decision.weights
        self.state = RolloutState()
        self.reconcile()
        judged = self.policy.analysis is not None or self.policy.strategy is Strategy.CANARY
        kept = self.state.stable == served or served is None
        assert kept or not judged, "accepted without judgement"
        answering = [name for name in self.decision.weights if self.seen.ready(name)]
        gated = self.policy.gated or self.target in self.broken
        if was.get(self.target) == 100 and answering == [self.target] and not gated:
            assert self.decision.weights[self.target] == 100, "it alone answers"
        if self.target == remembered_before.canary and remembered_before.paused is not None:
            by_hand = remembered_before.paused.reason == "Paused" and self.command is not None
            last = by_hand and self.command.kind is CommandKind.PAUSE
            assert self.state.paused is not None or not last, "what a person paused goes on"
        if self.state.weight == 100 and self.state.canary is not None:
            self.let_through.add(self.state.canary)
            self.taken_back = True

    @rule()
    def memory_is_lost_and_so_are_the_marks(self) -> None:
        served = {name for name, ready in self.ready.items() if ready} - self.broken
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
        if self.ready:
            name = data.draw(st.sampled_from(sorted(self.ready)))
            self.ready[name] = min(ready, self.planned[name])
        self.reconcile()

    @rule()
    def all_become_ready(self) -> None:
        self.ready = dict(self.planned)
        self.reconcile()

    @rule(revision=st.sampled_from(REVISIONS[1:]))
    def a_revision_turns_out_broken(self, revision: str) -> None:
        self.broken.add(revision)
        self.reconcile()

    @rule(revision=st.sampled_from(REVISIONS[1:]))
    def room_runs_out_or_comes(self, revision: str) -> None:
        self.short ^= {revision}
        self.reconcile()

    @rule(needed=st.none() | st.integers(0, MAX_REPLICAS))
    def the_traffic_changes(self, needed: int | None) -> None:
        self.needed = needed
        self.reconcile()

    @rule(verdict=st.none() | st.sampled_from(Verdict))
    def gates_say(self, verdict: Verdict | None) -> None:
        self.gates = verdict
        self.reconcile()

    @rule(verdict=st.sampled_from(Verdict), seconds=st.sampled_from([1.0, INTERVAL_S, 60.0]))
    def figures_say(self, verdict: Verdict, seconds: float) -> None:
        self.now += seconds
        self.judged = verdict
        self.reconcile()

    @rule(kind=st.sampled_from(CommandKind), meant=st.booleans())
    def a_person_says(self, kind: CommandKind, meant: bool) -> None:
        self.commands += 1
        revision = self.state.canary if meant else None
        self.command = Command(kind, f"{kind}/{self.commands}", revision)
        event(kind)
        self.reconcile()
        assert self.state.answer is not None
        assert self.state.answer.token == self.command.token
        assert self.state.answer.message

    @rule(seconds=st.sampled_from([0.1, 5.0, 30.0, 60.0, 300.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)
        self.reconcile()

    @rule()
    def a_burst_of_events_settles(self) -> None:
        """The world answers at once to what is decided; then more looks change nothing."""
        for _ in range(3 * MAX_REPLICAS):
            self.reconcile()
        weights, roles, plan = self.decision.weights, self.decision.roles, self.outcome.plan
        for _ in range(3):
            self.reconcile()
            assert (self.decision.weights, self.decision.roles) == (weights, roles)
            assert self.outcome.plan == plan

    # I1
    @invariant()
    def weights_sum_to_100_once_something_serves(self) -> None:
        if self.decision is not None:
            total = sum(self.decision.weights.values())
            assert total == (100 if self.state.stable else 0)
            assert all(0 <= weight <= 100 for weight in self.decision.weights.values())

    @invariant()
    def whatever_has_traffic_exists(self) -> None:
        if self.decision is not None:
            assert set(self.decision.weights) <= set(self.decision.roles)

    def demanded(self) -> int:
        """Replicas that all traffic needs, said once more and otherwise."""
        if self.state.capacity is None:
            return self.replicas
        if self.replicas == 1 and self.seen.ready(self.state.stable) == 0:
            return 0
        return self.replicas - 1 if self.needed is None else min(self.needed, self.replicas)

    # I2
    @invariant()
    def a_canary_with_traffic_can_carry_it(self) -> None:
        if self.decision is None or self.state.canary is None:
            return
        weight = self.decision.weights.get(self.state.canary, 0)
        if weight:
            ready = self.seen.ready(self.state.canary)
            can = ready >= max(1, ceil(self.demanded() * weight / 100))
            # What it has and stable cannot take back stays: nobody else is there for it.
            taken = ceil(100 * self.seen.ready(self.state.stable) / max(1, self.demanded()))
            had = self.shares.get(self.state.canary, 0)
            rose = self.before.canary is not None and weight > had
            assert can or (ready and weight <= 100 - taken and not rose)

    # I3
    @invariant()
    def a_canarys_weight_falls_only_when_it_cannot_carry_it_or_is_withdrawn(self) -> None:
        """Or when stable, whose place it took before memory was lost, takes its share back."""
        same = self.state.canary is not None and self.state.canary == self.before.canary
        if self.decision is None or not same or self.before.phase not in HAS_TRAFFIC:
            return
        if (self.state.weight or 0) < (self.before.weight or 0):
            ready = self.seen.ready(self.state.canary)
            spared = self.before.weight - self.state.weight if self.state.weight else 100
            taken = 100 * self.seen.ready(self.state.stable) / max(1, self.demanded()) + 1
            lost = ready < max(1, ceil(self.demanded() * self.before.weight / 100))
            assert lost or (self.taken_back and spared <= taken)

    # I4
    @invariant()
    def stable_keeps_the_replicas_for_its_share(self) -> None:
        recreates = self.policy.strategy is Strategy.RECREATE
        if self.decision is None or self.state.canary is None or self.state.stable is None:
            return
        planned, weight = self.planned[self.state.stable], self.state.weight or 0
        if self.state.capacity is None:
            assert planned == (0 if recreates else self.replicas)
            return
        assert planned >= ceil(self.demanded() * max(0, 99 - weight) / 100)
        if self.state.capacity is Capacity.BORROW and weight < 100:
            assert planned >= 1
        assert planned + self.planned[self.state.canary] <= self.replicas

    def was_lent(self, revision: str) -> set[bool]:
        """Whether a dropped revision had found room in stable's place; both if it may have."""
        found = {r.revision: r.capacity for r in self.before.retained if r.weight}
        lent = found.get(revision, self.before.capacity) is not None
        on_trial = revision == self.before.canary
        finds = on_trial and self.policy.capacity is Capacity.AUTO and revision in self.short
        return {lent, True} if finds else {lent}

    def needed_of(self, lent: bool) -> int:
        """Replicas that the live traffic needs; beside a whole stable one, if nobody knows."""
        if lent:
            return self.replicas - 1 if self.needed is None else min(self.needed, self.replicas)
        return max(1, min(1 if self.needed is None else self.needed, self.replicas))

    def dropped(self) -> list[str]:
        """What had traffic at the last look, answers, and is no part of the rollout any more."""
        going = self.before.stable == self.state.stable is not None
        if self.decision is None or not going or self.policy.strategy is Strategy.RECREATE:
            return []
        parts = (self.state.stable, self.state.canary)
        return [
            name
            for name, share in self.shares.items()
            if share and name not in parts and self.seen.ready(name)
        ]

    # I2 and I4 of what was dropped
    @invariant()
    def the_way_back_asks_no_more_of_stable_than_is_ready(self) -> None:
        for name in self.dropped():
            share = self.decision.weights.get(name, 0)
            assert share <= self.shares[name], "a dropped revision gets traffic"
            if share == self.shares[name] or self.state.weight:
                continue
            stable, ready = self.state.stable, self.seen.ready(self.state.stable)
            needed = min(self.needed_of(lent) for lent in self.was_lent(name))
            if ready == 0:
                assert stable in self.short, "nobody answers, and somebody could"
                assert needed == 0
            else:
                can = ceil(100 * ready / needed) if needed else 100
                assert self.decision.weights[stable] <= can

    @invariant()
    def what_was_dropped_and_has_traffic_has_the_replicas_for_it(self) -> None:
        for name in self.dropped():
            share = self.decision.weights.get(name, 0)
            if share:
                event("a dropped canary keeps a share")
                had = self.seen.revisions[name].replicas
                needed = min(self.needed_of(lent) for lent in self.was_lent(name))
                assert self.planned[name] >= min(had, max(1, ceil(needed * share / 100)))
                assert self.decision.roles[name] is Role.RETIRED
            elif self.planned.get(name):
                assert self.decision.roles[name] is Role.RETIRED, "it drains first"

    @invariant()
    def what_does_not_answer_keeps_no_share_when_dropped(self) -> None:
        for item in self.state.carriers:
            assert self.seen.ready(item.revision)

    # I5
    @invariant()
    def there_is_at_most_one_stable_and_one_canary(self) -> None:
        if self.decision is None:
            return
        roles = list(self.decision.roles.values())
        assert roles.count(Role.STABLE) <= 1
        assert roles.count(Role.CANARY) <= 1

    # I6
    @invariant()
    def a_new_canary_starts_at_the_first_step_and_nothing_else_is_promoted(self) -> None:
        if self.decision is None or self.state.canary in (None, self.before.canary):
            return
        assert self.state.step == 0 or self.obeyed
        assert self.before.stable in (self.state.stable, None) or self.state.stable is None
        assert self.state.paused is None or self.obeyed

    # I7
    @invariant()
    def what_was_withdrawn_stays_away_until_somebody_says_otherwise(self) -> None:
        if self.decision is not None and self.state.failed is not None:
            assert self.state.failed == self.target
            assert self.state.canary is None
            assert self.decision.roles.get(self.state.failed) in (None, Role.RETIRED)

    # I9
    @invariant()
    def a_step_is_left_only_by_a_pass_after_its_hold_or_by_command(self) -> None:
        if self.decision is None or self.before.canary is None or self.obeyed:
            return
        advanced = self.state.canary == self.before.canary and self.state.step > self.before.step
        promoting = self.state.phase is Phase.PROMOTING is not self.before.phase
        promoted = self.decision.reason == "Promoted" and self.before.phase is Phase.PROGRESSING
        if not (advanced or promoting or promoted):
            return
        if self.policy.analysis is None or self.before.phase not in HAS_TRAFFIC:
            return
        newest = self.sensed.judgement.verdict if self.sensed.judgement else None
        known = self.before.assessment.verdict if self.before.assessment else None
        assert Verdict.PASS in (newest, known)
        assert self.before.paused is None

    @invariant()
    def only_looks_that_say_fail_withdraw(self) -> None:
        if self.decision is not None and self.decision.reason == "AnalysisFailed":
            earlier = self.before.assessment.failures if self.before.assessment else 0
            assert earlier >= 1
            assert earlier >= 2 or self.sensed.judgement.verdict is Verdict.FAIL

    @invariant()
    def a_canary_that_failed_often_enough_has_no_traffic(self) -> None:
        if self.policy.analysis is not None and self.state.phase in HAS_TRAFFIC:
            found = self.state.assessment
            assert found is None or found.failures < self.policy.analysis.failure_limit

    @invariant()
    def a_gated_canary_meets_no_user_before_its_gates_are_passed(self) -> None:
        if self.decision is None or not self.policy.gated or self.state.canary is None:
            return
        if self.state.stable is not None and self.decision.weights[self.state.canary]:
            assert self.state.canary in self.let_through

    @invariant()
    def a_pause_freezes_the_step(self) -> None:
        if self.decision is None or self.before.paused is None or self.state.paused is None:
            return
        assert self.state.step == self.before.step
        assert (self.state.weight or 0) <= (self.before.weight or 0)
        assert self.decision.reason != "ProgressDeadlineExceeded"

    # I10
    @invariant()
    def the_route_is_what_was_decided(self) -> None:
        if self.decision is None:
            return
        routed = {item["name"]: item["weight"] for item in self.outcome.plan.traffic["revisions"]}
        assert {name: weight for name, weight in routed.items() if weight} == {
            name: weight for name, weight in self.decision.weights.items() if weight
        }

    # I12
    @invariant()
    def conditions_do_not_contradict_each_other(self) -> None:
        if self.decision is None:
            return
        found = conditions(self.outcome, self.model_seen.generation, (), self.now)
        said = {item.type: item.status for item in found}
        assert not (said["Stalled"] == "True" and said["Progressing"] == "True")
        assert {item.observed_generation for item in found} == {self.model_seen.generation}

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
        model, fleet, seen = self.model(), self.fleet(), self.observations()
        settled = step(self.state, model, fleet, self.now, seen)
        for _ in range(3 * MAX_REPLICAS):
            settled = step(settled.state, model, fleet, self.now, seen)
        until = self.now + 1e6 if settled.wake_at is None else settled.wake_at - 1e-3
        if until <= self.now:
            return
        later = step(settled.state, model, fleet, until, seen)
        assert (later.weights, later.roles) == (settled.weights, settled.roles)


RolloutMachine.TestCase.settings = settings(max_examples=500, stateful_step_count=40, deadline=None)
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
