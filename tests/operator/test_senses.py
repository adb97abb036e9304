"""What a decision is told: figures when they are due, errors as verdicts, commands always."""

from dataclasses import replace

import pytest

from operator_figures import Figures
from operator_models import a_fleet, a_model
from pagelet_operator.core.analysis import AnalysisPolicy, Baseline, Rule, Verdict
from pagelet_operator.core.gates import Gate, GateKind, GateResult, GateStatus
from pagelet_operator.core.measure import Metric
from pagelet_operator.core.rollout import Phase, RolloutState, parse_command
from pagelet_operator.core.window import Histogram, Window
from pagelet_operator.senses import NO_SENSES, Senses, sense

POLICY = AnalysisPolicy(
    interval_s=10.0, min_requests=20, metrics=(Rule(metric=Metric.ERROR_RATE, limit=1.0),)
)
STATE = RolloutState(
    phase=Phase.PROGRESSING, stable="chat-a", canary="chat-b", weight=10, step_started_at=100.0
)
FLEET = a_fleet({"chat-a": 1, "chat-b": 1})


def the_model(**changes):
    model = a_model("chat-b")
    return replace(model, rollout=replace(model.rollout, analysis=replace(POLICY, **changes)))


def window(requests, errors):
    return Window(since=100.0, until=110.0, requests=requests, errors=errors)


async def seen_at(now, figures, model=None, **options):
    senses = Senses(telemetry=figures)
    return await sense(senses, model or the_model(), STATE, FLEET, now, **options)


@pytest.mark.parametrize(("errors", "verdict"), [(0, Verdict.PASS), (400, Verdict.FAIL)])
async def test_a_look_that_is_due_judges_the_canary_since_its_step_began(errors, verdict):
    figures = Figures({"chat-b": window(1000, errors), "chat-a": window(1000, 0)})
    seen = await seen_at(110.0, figures)
    assert (seen.judgement.verdict, seen.judged_at, seen.canary) == (verdict, 110.0, "chat-b")
    assert figures.asked == [100.0, 110.0 - 1800.0]


async def test_between_two_looks_nobody_is_asked_and_commands_are_heard():
    figures = Figures({})
    command = parse_command("pause/1")
    seen = await seen_at(109.0, figures, command=command)
    assert (seen.judgement, seen.judged_at, seen.command) == (None, None, command)
    assert figures.asked == []


async def test_a_source_that_does_not_answer_is_an_error_and_never_a_verdict_on_the_canary():
    assert (await seen_at(110.0, Figures())).judgement.verdict is Verdict.ERROR


async def test_a_world_that_measures_nothing_says_so_and_one_that_does_says_so_at_every_look():
    blind = await sense(NO_SENSES, the_model(), STATE, FLEET, 110.0)
    assert (blind.measured, blind.judgement) == (False, None)
    assert [(await seen_at(now, Figures())).measured for now in (109.0, 110.0)] == [True, True]


class Record(Figures):
    """Stable's figures minute by minute, and what they sum to."""

    def split(self, found):
        assert self.asked[-1] == 140.0 - 1800.0
        calm = Window(since=-60.0, until=0.0, requests=60, itl=gaps(0.02, 6000))
        return [calm, *(replace(found, since=m * 60.0, until=m * 60.0 + 60.0) for m in range(2))]


def gaps(seconds, count):
    bounds = tuple(0.001 * 1.2**index for index in range(40))
    at = next(index for index, bound in enumerate(bounds) if seconds <= bound)
    return Histogram(bounds, tuple(count * (index == at) for index in range(41)))


def streams(requests, seconds):
    itl = gaps(seconds, 100 * requests)
    ttft = gaps(seconds, requests)
    return Window(since=100.0, until=140.0, requests=requests, itl=itl, ttft=ttft)


async def test_a_canary_that_idles_is_compared_with_a_calm_time_of_stable():
    """It is as fast as a stable that has twenty times as much to do."""
    model = the_model(metrics=(Rule(metric=Metric.ITL_P50, change_percent=20.0),))
    windows = {"chat-a": streams(800, 0.05), "chat-b": streams(40, 0.05)}
    found = await seen_at(140.0, Record(windows), model)
    assert found.judgement.verdict is Verdict.FAIL
    assert "at its calmest" in found.judgement.message
    busy = {"chat-a": streams(800, 0.05), "chat-b": streams(800, 0.05)}
    assert (await seen_at(140.0, Record(busy), model)).judgement.verdict is Verdict.PASS


async def test_a_canary_with_all_traffic_is_compared_with_stable_before_it():
    class Past(Figures):
        async def windows(self, model, fleet, since):
            found = await super().windows(model, fleet, since)
            return found if since < 100.0 else {"chat-b": found["chat-b"]}

    model = the_model(metrics=(Rule(metric=Metric.ERROR_RATE, change_percent=1.0),))
    figures = Past({"chat-a": window(1000, 0), "chat-b": window(1000, 200)})
    state = replace(STATE, weight=100)
    seen = await sense(Senses(telemetry=figures), model, state, FLEET, 110.0)
    assert (seen.judgement.verdict, figures.asked) == (Verdict.FAIL, [100.0, -1700.0])
    assert (await seen_at(110.0, figures, model)).judgement.verdict is Verdict.INCONCLUSIVE


async def test_a_canary_nobody_asked_is_inconclusive():
    seen = await seen_at(110.0, Figures({"chat-a": window(1000, 0)}))
    assert seen.judgement.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("stored", "verdict"), [(0.0, Verdict.FAIL), (60.0, Verdict.PASS), (None, Verdict.INCONCLUSIVE)]
)
async def test_a_fixed_baseline_is_the_stored_profile_not_stable_s_window(stored, verdict):
    rules = (Rule(metric=Metric.ERROR_RATE, change_percent=5.0),)
    model = the_model(baseline=Baseline.FIXED, metrics=rules)
    figures = Figures({"chat-b": window(1000, 500), "chat-a": window(1000, 500)})
    key = Gate(GateKind.LOAD_TEST, {}, 60.0).key("chat-a", None)
    passed = GateResult(status=GateStatus.PASSED, figures={Metric.ERROR_RATE: stored or 0.0})
    state = replace(STATE, gates={} if stored is None else {key: passed})
    seen = await sense(Senses(telemetry=figures), model, state, FLEET, 110.0)
    assert seen.judgement.verdict is verdict


async def test_the_demand_is_asked_for_where_a_canary_may_need_the_room_of_others():
    busy = Window(since=-190.0, until=110.0, requests=50, request_seconds=300.0 * 20.0)
    figures = Figures({"chat-a": busy})
    short = replace(FLEET.revisions["chat-b"], short="Insufficient nvidia.com/gpu")
    fleet = replace(FLEET, revisions={**FLEET.revisions, "chat-b": short})
    model = replace(the_model(), replicas=4)
    seen = await sense(Senses(telemetry=figures), model, STATE, fleet, 101.0)
    assert (seen.needed, figures.asked) == (2, [101.0 - 300.0])
    assert (await sense(NO_SENSES, model, STATE, fleet, 101.0)).needed is None
    assert (await sense(Senses(telemetry=Figures()), model, STATE, fleet, 101.0)).needed is None
