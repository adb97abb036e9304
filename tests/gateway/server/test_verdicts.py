from typing import Any

import pytest

from pagelet_gateway.core.breaker import State
from pagelet_gateway.core.guard import Guard
from pagelet_gateway.core.retry import BREAKING, Failure
from pagelet_gateway.core.router import Target
from pagelet_gateway.core.table_parser import parse
from pagelet_gateway.server.verdicts import Verdicts

FIRST = Target("r", "http://1", False, "m")
SECOND = Target("r", "http://2", False, "m")
OTHER = Target("s", "http://3", False, "m")


def guard(limit: int = 1) -> Guard:
    def revision(name: str, weight: int, *urls: str) -> dict[str, Any]:
        endpoints = [{"url": url} for url in urls]
        return {"name": name, "role": "canary", "weight": weight, "endpoints": endpoints}

    model = {
        "name": "m",
        "resource": "d/m",
        "generation": 1,
        "revisions": [revision("r", 50, "http://1", "http://2"), revision("s", 50, "http://3")],
        "circuitBreaker": {"consecutiveErrors": limit},
    }
    made = Guard("seed")
    made.apply(parse({"schemaVersion": 1, "models": [model]}))
    return made


def states(made: Guard) -> dict[str, tuple[State, int]]:
    return {key[1]: (state, ejected) for key, state, ejected in made.states(0.0)}


CLOSED, OPEN = (State.CLOSED, 0), (State.OPEN, 0)


@pytest.mark.parametrize("failure", sorted(BREAKING))
def test_a_request_that_another_endpoint_answers_fails_the_endpoint_only(failure):
    made = guard()
    verdicts = Verdicts(made)
    verdicts.begin(FIRST, 0.0, 9.0)
    verdicts.failed(failure, 0.0)
    verdicts.begin(SECOND, 0.0, 9.0)
    verdicts.answered(0.0)
    verdicts.end(0.0, is_good=True)
    assert states(made) == {"r": (State.CLOSED, 1), "s": CLOSED}


def test_a_request_that_leaves_a_revision_unanswered_fails_it():
    made = guard()
    verdicts = Verdicts(made)
    verdicts.begin(FIRST, 0.0, 9.0)
    verdicts.failed(Failure.RESET, 0.0)
    verdicts.begin(OTHER, 0.0, 9.0)
    verdicts.end(0.0, is_good=True)
    assert states(made) == {"r": (State.OPEN, 1), "s": CLOSED}


@pytest.mark.parametrize("failure", [Failure.BUSY, Failure.DRAINING])
def test_what_is_busy_or_drains_fails_nothing(failure):
    made = guard()
    verdicts = Verdicts(made)
    verdicts.begin(FIRST, 0.0, 9.0)
    verdicts.failed(failure, 0.0)
    verdicts.end(0.0, is_good=None)
    assert states(made) == {"r": CLOSED, "s": CLOSED}


def test_an_answer_that_breaks_off_fails_both_and_only_once():
    made = guard()
    verdicts = Verdicts(made)
    verdicts.begin(OTHER, 0.0, 9.0)
    verdicts.answered(0.0)
    verdicts.end(0.0, is_good=False)
    verdicts.end(0.0, is_good=True)
    assert states(made)["s"] == OPEN


def test_a_client_that_leaves_while_another_endpoint_works_fails_no_revision():
    made = guard()
    verdicts = Verdicts(made)
    verdicts.begin(FIRST, 0.0, 9.0)
    verdicts.failed(Failure.RESET, 0.0)
    verdicts.begin(SECOND, 0.0, 9.0)
    verdicts.end(0.0, is_good=None)
    assert states(made) == {"r": (State.CLOSED, 1), "s": CLOSED}


def test_a_probe_that_ends_without_a_verdict_leaves_room_for_the_next():
    made = guard()
    verdicts = Verdicts(made)
    verdicts.begin(OTHER, 0.0, 9.0)
    verdicts.end(0.0, is_good=False)
    later = made.opens_in_s(("m", "s"), 0.0)
    verdicts = Verdicts(made)
    verdicts.begin(OTHER, later, later + 99)
    assert not made.admits(("m", "s"), later)
    verdicts.end(later, is_good=None)
    assert made.admits(("m", "s"), later)


def begun(made: Guard, target: Target, at: float, count: int = 10) -> list[Verdicts]:
    found = [Verdicts(made) for _ in range(count)]
    for each in found:
        each.begin(target, at, at + 99.0)
    return found


def test_one_crash_counts_once_for_its_revision_and_for_each_request_at_the_endpoint():
    made = guard(limit=3)
    for crash in range(3):
        assert states(made)["r"] == (State.CLOSED, 1 if crash else 0)
        for each in begun(made, FIRST, 10.0 * crash):
            each.answered(10.0 * crash)
            each.end(10.0 * crash + 5.0, is_good=False)
    assert states(made)["r"] == (State.OPEN, 1)


def test_crashes_of_several_endpoints_at_once_count_each():
    made = guard(limit=2)
    both = begun(made, FIRST, 0.0) + begun(made, SECOND, 0.0)
    for each in both:
        each.end(1.0, is_good=False)
    assert states(made)["r"][0] is State.OPEN


@pytest.mark.parametrize("failure", sorted(BREAKING))
def test_what_an_engine_says_itself_counts_for_each_request(failure):
    made = guard(limit=3)
    for each in begun(made, FIRST, 0.0):
        each.failed(failure, 1.0)
        each.end(1.0, is_good=None)
    is_own = failure in (Failure.ERROR, Failure.PROTOCOL)
    assert states(made)["r"][0] is (State.OPEN if is_own else State.CLOSED)
