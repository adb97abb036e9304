import json
from collections import Counter

import pytest

from gateway_process import model, post, samples, table
from gateway_upstream import Upstream
from pagelet_gateway.core.affinity import BLOCK_BYTES
from pagelet_gateway.core.router import Router
from pagelet_gateway.core.table_parser import parse
from pagelet_gateway.errors import RevisionDeniedError, UnavailableError, UnknownRevisionError
from pagelet_gateway.server.assignment import assign
from pagelet_gateway.server.exchange import Exchange
from pagelet_gateway.server.peek import peek

PATH = "/v1/chat/completions"


def asked(fields: dict, *, weights=(50, 50), routing=None, salt="", may=False, path=PATH, **head):
    """What a request is assigned to."""
    router = Router()
    revisions = {"m-1": (weights[0], ["http://a"]), "m-2": (weights[1], ["http://b"])}
    extra = {"routing": routing} if routing else {}
    router.apply(parse(table(model("m", revisions, **extra))))
    headers = [(f"x-pagelet-{name}".encode(), value.encode()) for name, value in head.items()]
    scope = {"method": "POST", "path": path, "headers": headers}
    exchange = Exchange(scope, None, None, closes=False)  # type: ignore[arg-type]
    seen = peek(json.dumps({"model": "m", **fields}).encode())
    return assign(router, router.table.models["m"], exchange, seen, salt=salt, may_choose=may)


def chat(*texts: str) -> dict:
    turns = [{"role": "system", "content": "Be brief."}]
    for index, text in enumerate(texts):
        turns.append({"role": "assistant" if index % 2 else "user", "content": text})
    return {"messages": turns}


def test_a_growing_conversation_without_a_name_stays_and_openings_spread():
    seen = Counter()
    for number in range(40):
        first = asked(chat(f"question {number}")).revision
        assert asked(chat(f"question {number}", "answer", "and then?")).revision == first
        seen[first] += 1
    assert min(seen["m-1"], seen["m-2"]) >= 8


def test_a_route_that_keeps_nothing_together_deals_equals_out():
    routing = {"stickiness": "None"}
    router = Router()
    revisions = {"m-1": (50, ["http://a"]), "m-2": (50, ["http://b"])}
    router.apply(parse(table(model("m", revisions, routing=routing))))
    seen = peek(json.dumps({"model": "m", "user": "u", **chat("same")}).encode())
    exchange = Exchange({"method": "POST", "path": PATH, "headers": []}, None, None, closes=False)
    route = router.table.models["m"]
    dealt = Counter(
        assign(router, route, exchange, seen, salt="", may_choose=False).revision for _ in range(10)
    )
    assert dealt == {"m-1": 5, "m-2": 5}


def test_only_who_may_choose_reaches_a_revision_by_name():
    pinned = asked(chat("hi"), weights=(100, 0), may=True, revision="m-2")
    assert (pinned.revision, pinned.is_pinned) == ("m-2", True)
    with pytest.raises(RevisionDeniedError):
        asked(chat("hi"), revision="m-2")
    with pytest.raises(UnknownRevisionError, match="m-1, m-2"):
        asked(chat("hi"), may=True, revision="m-3")


def test_a_model_without_shares_is_not_ready():
    with pytest.raises(UnavailableError):
        asked(chat("hi"), weights=(0, 0))


def test_only_routes_that_are_aware_of_prefixes_hash_them_and_tenants_apart():
    long = chat("x" * 4 * BLOCK_BYTES)
    aware = {"policy": "PrefixAware"}
    assert asked(long).prefix == ()
    assert len(asked(long, routing=aware).prefix) == 4
    one, other = (asked(long, routing=aware, salt=salt).prefix for salt in ("one", "other"))
    assert set(one).isdisjoint(other)


async def test_the_observed_share_is_exported_beside_the_requested(gateway, session):
    async with Upstream() as stable, Upstream() as canary:
        gateway.apply(model("shared", {"s-1": (75, [stable.url]), "s-2": (25, [canary.url])}))
        for _ in range(8):
            await post(session, gateway.url + PATH, {"model": "shared"})
        await samples(session, gateway, "requests_total")
        async with session.get(gateway.url + "/metrics") as answer:
            text = await answer.text()
        for revision, percent, ratio in (("s-1", 75.0, 0.75), ("s-2", 25.0, 0.25)):
            labels = f'{{model="shared",revision="{revision}"}}'
            assert f"pagelet_gateway_route_weight_percent{labels} {percent}" in text
            assert f"pagelet_gateway_observed_share_ratio{labels} {ratio}" in text


async def test_a_client_without_permission_is_told_so(gateway, session):
    async with Upstream() as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        status, body, _ = await post(
            session, gateway.url + PATH, {"model": "m"}, x_pagelet_revision="m-1"
        )
        assert (status, json.loads(body)["error"]["code"]) == (403, "revision_not_allowed")
        assert engine.received == []
