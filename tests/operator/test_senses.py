"""What a decision is told: figures when they are due, errors as verdicts, commands always."""

from dataclasses import replace

import pytest

from operator_figures import Figures
from operator_models import a_fleet, a_model
from pagelet_operator.core.analysis import AnalysisPolicy, Baseline, Rule, Verdict
from pagelet_operator.core.gates import Gate, GateKind, GateResult, GateStatus
from pagelet_operator.core.measure import Metric
from pagelet_operator.core.rollout import Phase, RolloutState, parse_command
from pagelet_operator.core.window import Window
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
    assert figures.asked == [100.0]


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
