from typing import Any

from pagelet_gateway.core.breaker import State
from pagelet_gateway.core.guard import Guard, external_key
from pagelet_gateway.core.route_table import RouteTable
from pagelet_gateway.core.table_parser import parse

KEY = ("m", "m-1")
FAR = 1e9


def table(*urls: str, **fields: Any) -> RouteTable:
    revision = {
        "name": "m-1",
        "role": "stable",
        "weight": 100,
        "endpoints": [{"url": url} for url in urls],
    }
    model = {"name": "m", "resource": "d/m", "generation": 1, "revisions": [revision]} | fields
    return parse({"schemaVersion": 1, "models": [model]})


def guard(routes: RouteTable) -> Guard:
    made = Guard("seed")
    made.apply(routes)
    return made


def fails(made: Guard, times: int = 5, now: float = 0.0) -> None:
    for _ in range(times):
        made.enter_circuit(KEY, now, FAR).fail(now)


def test_a_revision_that_fails_in_a_row_is_left_alone_for_its_time():
    made = guard(table("http://1"))
    assert made.admits(KEY, 0.0)
    fails(made)
    assert not made.admits(KEY, 29.9)
    assert 30.0 <= made.opens_in_s(KEY, 0.0) <= 36.0
    probe = made.enter_circuit(KEY, 36.0, FAR)
    assert not made.admits(KEY, 36.0)
    probe.release()
    assert made.admits(KEY, 36.0)


def test_the_tables_policy_counts_and_a_change_of_it_starts_anew():
    made = guard(table("http://1", circuitBreaker={"consecutiveErrors": 1, "openForSeconds": 2}))
    fails(made, 1)
    assert not made.admits(KEY, 1.9)
    made.apply(table("http://1", circuitBreaker={"consecutiveErrors": 2}))
    assert made.admits(KEY, 1.9)
    fails(made, 1)
    assert made.admits(KEY, 1.9)


def test_a_new_endpoint_closes_the_circuit_and_fewer_endpoints_do_not():
    made = guard(table("http://1", "http://2"))
    fails(made)
    made.apply(table("http://1"))
    assert not made.admits(KEY, 1.0)
    made.apply(table("http://1", "http://3"))
    assert made.admits(KEY, 1.0)


def test_an_endpoint_is_ejected_and_comes_back_as_a_probe():
    routes = table("http://1", "http://2")
    revision = routes.models["m"].revisions[0]
    made = guard(routes)
    for _ in range(5):
        made.enter_endpoint(KEY, "http://1", 0.0, FAR).fail(0.0)
    assert made.ejected(KEY, revision, 1.0) == {"http://1"}
    assert made.probe_due(KEY, revision, 1.0) == []
    assert made.probe_due(KEY, revision, 37.0) == ["http://1"]
    made.enter_endpoint(KEY, "http://1", 37.0, FAR).answered(37.5)
    assert made.ejected(KEY, revision, 37.5) == set()


def test_states_are_told_by_revision():
    made = guard(table("http://1", "http://2"))
    assert list(made.states(0.0)) == [(KEY, State.CLOSED, 0)]
    fails(made)
    for _ in range(5):
        made.enter_endpoint(KEY, "http://2", 0.0, FAR).fail(0.0)
    assert list(made.states(0.0)) == [(KEY, State.OPEN, 1)]


def test_what_left_the_table_is_forgotten_and_its_requests_end_in_peace():
    made = guard(table("http://1"))
    circuit, endpoint = (
        made.enter_circuit(KEY, 0.0, FAR),
        made.enter_endpoint(KEY, "http://1", 0, 9),
    )
    fails(made)
    made.apply(parse({"schemaVersion": 1, "models": []}))
    for entry in (circuit, endpoint, made.enter_circuit(KEY, 0.0, FAR)):
        entry.fail(1.0)
    made.saw_first_token(KEY, "http://1", 1.0, 1.0)
    assert list(made.states(1.0)) == []
    made.apply(table("http://1"))
    assert made.admits(KEY, 1.0)


def test_an_api_elsewhere_has_a_circuit_of_its_own():
    routes = table("http://1", fallback=[{"url": "https://x/v1", "urlModel": "big"}])
    key = external_key(routes.models["m"].fallback[0])
    made = guard(routes)
    for _ in range(5):
        made.enter_circuit(key, 0.0, FAR).fail(0.0)
    assert not made.admits(key, 1.0)
    assert made.admits(KEY, 1.0)
    made.apply(routes)
    assert not made.admits(key, 1.0)
    made.apply(table("http://1"))
    made.apply(routes)
    assert made.admits(key, 1.0)


def test_endpoints_obey_the_policy_of_the_newest_table():
    strict = {"consecutiveErrors": 1}
    made = guard(table("http://1", "http://2"))
    made.apply(table("http://1", "http://2", circuitBreaker=strict))
    made.enter_endpoint(KEY, "http://1", 0.0, FAR).fail(0.0)
    assert list(made.states(0.0)) == [(KEY, State.CLOSED, 1)]
    made.apply(table("http://2", circuitBreaker=strict))
    made.apply(table("http://1", "http://2", circuitBreaker=strict))
    assert list(made.states(0.0)) == [(KEY, State.CLOSED, 0)]
