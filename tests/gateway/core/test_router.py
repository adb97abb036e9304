from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.pressure import FLOOR, SAMPLE, Sample
from pagelet_gateway.core.retry import Failure
from pagelet_gateway.core.route_table import RouteTable
from pagelet_gateway.core.router import Router, Target
from pagelet_gateway.core.table_parser import parse

ROLES = ("stable", "canary", "retired")


def table(**revisions: tuple[str, int, list[str]]) -> RouteTable:
    entries: list[dict[str, Any]] = [
        {"name": name, "role": role, "weight": weight, "endpoints": [{"url": u} for u in urls]}
        for name, (role, weight, urls) in revisions.items()
    ]
    model = {"name": "m", "resource": "default/m", "generation": 1, "revisions": entries}
    return parse({"schemaVersion": 1, "models": [model]})


def router(**revisions: tuple[str, int, list[str]]) -> Router:
    made = Router()
    made.apply(table(**revisions))
    return made


def test_unkeyed_requests_follow_the_weights_exactly():
    routes = router(a=("stable", 93, ["http://a"]), b=("canary", 7, ["http://b"]))
    assert Counter(routes.assign("m", None) for _ in range(100)) == {"a": 93, "b": 7}


def test_a_table_that_changes_endpoints_only_does_not_restart_the_deal():
    routes, dealt = Router(), Counter[str | None]()
    for turn in range(100):
        url = f"http://b{turn}"
        routes.apply(table(a=("stable", 99, ["http://a"]), b=("canary", 1, [url])))
        dealt[routes.assign("m", None)] += 1
    assert dealt == {"a": 99, "b": 1}


def test_a_canary_without_endpoints_spills_to_stable_but_stable_never_to_a_canary():
    routes = router(a=("stable", 50, ["http://a"]), b=("canary", 50, []))
    assert routes.choose("m", "b", 0.0).url == "http://a"
    routes.apply(table(a=("stable", 50, []), b=("canary", 50, ["http://b"])))
    assert routes.choose("m", "a", 0.0) is None
    assert routes.choose("m", "b", 0.0).url == "http://b"


def test_nothing_goes_to_a_revision_without_weight_even_in_need():
    routes = router(
        a=("stable", 0, ["http://a"]), b=("canary", 100, []), c=("retired", 0, ["http://c"])
    )
    assert routes.assign("m", None) == "b"
    assert routes.choose("m", "b", 0.0) is None
    assert routes.choose("m", "a", 0.0) is None


def test_no_share_no_table_no_model_mean_no_target():
    assert Router().assign("m", None) is None
    assert Router().choose("m", "a", 0.0) is None
    routes = router(a=("stable", 0, ["http://a"]))
    assert routes.assign("m", None) is None
    assert routes.choose("other", "a", 0.0) is None


def test_a_revision_that_left_the_table_spills_to_stable():
    routes = router(new=("stable", 100, ["http://new"]))
    assert routes.choose("m", "old", 0.0).revision == "new"


def test_a_refusing_endpoint_is_passed_over_until_all_refuse():
    routes = router(a=("stable", 100, ["http://1", "http://2"]))
    first = routes.choose("m", "a", 0.0)
    routes.report(first, Failure.DRAINING, 0.0)
    second = routes.choose("m", "a", 1.0)
    assert second.url != first.url
    assert not second.was_avoided
    routes.report(second, Failure.REFUSED, 1.0)
    assert routes.choose("m", "a", 1.5, even_avoided=False) is None
    assert routes.choose("m", "a", 1.5).was_avoided
    assert routes.choose("m", "a", 2.1, even_avoided=False) == second


def test_a_reset_does_not_make_an_endpoint_avoided():
    routes = router(a=("stable", 100, ["http://1"]))
    target = routes.choose("m", "a", 0.0)
    routes.report(target, Failure.RESET, 0.0)
    assert not routes.choose("m", "a", 0.0).was_avoided


weighted = st.integers(0, 100).map(lambda canary: (100 - canary, canary))


@given(weighted, st.text(max_size=5) | st.none(), st.sets(st.sampled_from(["s", "c"])))
def test_every_target_belongs_to_a_revision_with_weight(weights, key, refusing):
    routes = router(s=("stable", weights[0], ["http://s"]), c=("canary", weights[1], ["http://c"]))
    for name in refusing:
        target = routes.choose("m", name, 0.0)
        if target is not None:
            routes.report(target, Failure.REFUSED, 0.0)
    assigned = routes.assign("m", key)
    target = routes.choose("m", assigned, 0.5)
    assert target is not None
    assert {"s": weights[0], "c": weights[1]}[target.revision] > 0
    assert target.revision in (assigned, "s")


def test_a_tester_reaches_the_revision_it_names_and_no_other():
    routes = router(
        a=("stable", 100, ["http://a"]), b=("canary", 0, ["http://b"]), c=("retired", 0, [])
    )
    assert routes.choose("m", "b", 0.0, is_pinned=True).url == "http://b"
    assert routes.choose("m", "b", 0.0).url == "http://a", "without a share nothing else goes there"
    assert routes.choose("m", "c", 0.0, is_pinned=True) is None
    assert routes.choose("m", "gone", 0.0, is_pinned=True) is None


def test_the_models_policy_says_how_endpoints_are_chosen():
    urls = ["http://a", "http://b"]
    routes = Router()
    for policy, expected in (("LeastQueue", "http://b"), ("RoundRobin", "http://a")):
        raw = {
            "name": "m", "resource": "default/m", "generation": 1, "routing": {"policy": policy},
            "revisions": [
                {"name": "r", "role": "stable", "weight": 100,
                 "endpoints": [{"url": url} for url in urls]},
            ],
        }  # fmt: skip
        routes.apply(parse({"schemaVersion": 1, "models": [raw]}))
        for url, running in zip(urls, (9, 1), strict=True):
            routes.loaded(url, waiting=0, running=running, now=0.0)
        assert routes.choose("m", "r", 0.0).url == expected


def failing(routes: Router, target: Target, times: int = 5) -> None:
    for _ in range(times):
        routes.guard.enter_endpoint(target.key, target.url, 0.0, 1e9).fail(0.0)


def test_an_ejected_endpoint_gets_nothing_until_its_probe_is_due():
    routes = router(a=("stable", 100, ["http://1", "http://2"]))
    first = routes.choose("m", "a", 0.0)
    failing(routes, first)
    other = {"http://1": "http://2", "http://2": "http://1"}[first.url]
    for _ in range(4):
        target = routes.choose("m", "a", 1.0)
        routes.begin(target)
        assert target.url == other
    assert routes.choose("m", "a", 1.0, tried={other}) is None
    assert routes.choose("m", "a", 37.0).url == first.url
    assert routes.choose("m", "a", 37.0, tried={first.url}).url == other
    routes.guard.enter_endpoint(first.key, first.url, 37.0, 50.0)
    assert routes.choose("m", "a", 37.0).url == other


def test_a_canary_whose_circuit_is_open_spills_to_stable_and_stable_to_nobody():
    routes = router(a=("stable", 50, ["http://a"]), b=("canary", 50, ["http://b"]))
    for _ in range(5):
        routes.guard.enter_circuit(("m", "b"), 0.0, 1e9).fail(0.0)
    assert routes.choose("m", "b", 1.0).revision == "a"
    for _ in range(5):
        routes.guard.enter_circuit(("m", "a"), 0.0, 1e9).fail(0.0)
    assert routes.choose("m", "b", 1.0) is None


def chained(*fallbacks: dict[str, str]) -> Router:
    def item(name: str, **fields: Any) -> dict[str, Any]:
        revision = {"name": f"{name}-1", "role": "stable", "weight": 100}
        endpoints = {"endpoints": [{"url": f"http://{name}"}]}
        return {
            "name": name, "resource": "d/m", "generation": 1, "revisions": [revision | endpoints]
        } | fields  # fmt: skip

    made = Router()
    made.apply(
        parse({"schemaVersion": 1, "models": [item("m", fallback=list(fallbacks)), item("n")]})
    )
    return made


def test_a_fallback_model_brings_its_own_revision_and_circuit():
    routes = chained({"model": "n"}, {"url": "https://x/v1", "urlModel": "big"})
    target = routes.fall_back("m", 0.0, key=None, spent=())
    assert (target.model, target.revision, target.url) == ("n", "n-1", "http://n")
    assert target.key == ("n", "n-1")
    for _ in range(5):
        routes.guard.enter_circuit(target.key, 0.0, 1e9).fail(0.0)
    elsewhere = routes.fall_back("m", 0.0, key=None, spent=())
    assert (elsewhere.url, elsewhere.link.name) == ("https://x/v1", "big")
    assert routes.fall_back("m", 0.0, key=None, spent={"big"}) is None
    for _ in range(5):
        routes.guard.enter_circuit(elsewhere.key, 0.0, 1e9).fail(0.0)
    assert routes.fall_back("m", 0.0, key=None, spent=()) is None
    assert routes.fall_back("n", 0.0, key=None, spent=()) is None


def test_a_fallback_whose_endpoints_all_refuse_is_passed_over():
    routes = chained({"model": "n"})
    target = routes.fall_back("m", 0.0, key=None, spent=())
    routes.report(target, Failure.DRAINING, 0.0)
    assert routes.fall_back("m", 1.0, key=None, spent=()) is None


def make_late(routes: Router, url: str) -> None:
    """Let an endpoint's answers be late for a crowd, so that it gets the smallest limit."""
    routes.loaded(url, waiting=100, running=1, now=0.0)
    late = Sample(kind=(1,), asked_at=0.0, took_s=5.0, of_s=10.0, among=FLOOR)
    for _ in range(SAMPLE):
        routes.saw(Target("a", url, False, "m"), late, 0.0)


def test_a_full_endpoint_is_passed_over_until_all_are_full():
    urls = ["http://1", "http://2"]
    routes = router(a=("stable", 100, urls))
    make_late(routes, "http://1")
    assert routes.limits(0.0) == {("m", "a"): FLOOR}
    for _ in range(FLOOR):
        assert not routes.is_full("http://1", 0.0)
        routes.begin(Target("a", "http://1", False, "m"))
    assert routes.is_full("http://1", 0.0)
    for _ in range(3 * FLOOR):  # the other has more and more, and gets the next all the same
        found = routes.choose("m", "a", 0.0)
        assert found.url == "http://2"
        routes.begin(found)
    make_late(routes, "http://2")
    assert routes.is_full("http://2", 0.0)
    assert routes.limits(0.0) == {("m", "a"): 2 * FLOOR}
    assert routes.choose("m", "a", 0.0) is not None
    routes.end(Target("a", "http://1", False, "m"))
    assert not routes.is_full("http://1", 0.0)
    assert routes.choose("m", "a", 0.0).url == "http://1"


def test_limits_go_with_their_endpoint():
    routes = router(a=("stable", 100, ["http://1"]))
    make_late(routes, "http://1")
    routes.apply(table(a=("stable", 100, ["http://2"])))
    routes.apply(table(a=("stable", 100, ["http://1"])))
    assert routes.limits(0.0) == {}
