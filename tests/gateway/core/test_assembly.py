"""Assembly: the same objects, the same table; one bad model takes nothing from the others."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_gateway.core.assembly import assemble, references
from pagelet_gateway.core.cluster import Endpoint, Resource, Slice
from pagelet_gateway.core.key_material import KeyRef, Material, Purpose, SecretRef
from pagelet_gateway.core.table_parser import parse

SECRET = SecretRef("ns", "keys")
GATE = KeyRef(SecretRef("ns", "gate"), "key", Purpose.SHOWN)


def traffic(name: str = "chat", *weights: int, **fields: object) -> dict:
    return {
        "name": name,
        "resource": f"ns/{name}",
        "generation": 1,
        "revisions": [
            {"name": f"{name}-{index}", "role": "stable", "weight": weight}
            for index, weight in enumerate(weights or (100,))
        ],
    } | fields


def resource(name: str, said: dict | None, created: str = "2026-01-01T00:00:00Z") -> Resource:
    return Resource(uid=f"uid-{name}", namespace="ns", name=name, created=created, traffic=said)


def pods(service: str, *numbers: int) -> Slice:
    found = (Endpoint(f"pod-{n}", False, f"http://10.0.0.{n}:8000") for n in numbers)
    return Slice("ns", service, tuple(found))


def tenant(name: str, key: str) -> dict:
    return {"name": name, "apiKeySecretRef": {"name": "keys", "key": key}}


def tenant_key(key: str) -> KeyRef:
    return KeyRef(SECRET, key, Purpose.TENANT)


resources = st.lists(
    st.builds(
        lambda index, name, weights, age, bad: resource(
            f"r{index}",
            {"name": 5} if bad else traffic(name, *weights),
            created=f"2026-01-0{age}T00:00:00Z",
        ),
        st.integers(0, 5),
        st.sampled_from(["chat", "code", "small"]),
        st.sampled_from([(100,), (90, 10), (0, 0), (50, 49)]),
        st.integers(1, 3),
        st.booleans(),
    ),
    unique_by=lambda item: item.uid,
    max_size=6,
)


@settings(deadline=None)
@given(resources, st.randoms())
def test_the_order_of_objects_changes_nothing_and_the_table_keeps_its_own_rules(found, random):
    slices = [pods("chat-0", 1, 2), pods("code-0", 3)]
    first = assemble(found, slices, {})
    random.shuffle(found)
    assert assemble(found, list(reversed(slices)), {}) == first
    assert list(first.table.models) == sorted(first.table.models)
    for name, route in first.table.models.items():
        assert route.name == name
        alone = [item for item in found if item.title == route.resource]
        assert assemble(alone, slices, {}).table.models[name] == route


@settings(deadline=None)
@given(resources, st.integers(0, 5))
def test_a_model_that_goes_bad_changes_no_route_at_all(found, victim):
    before = assemble(found, [], {})
    spoiled = [
        replace(item, traffic={"name": None}) if item.uid == f"uid-r{victim}" else item
        for item in found
    ]
    after = assemble(spoiled, [], {}, before.good)
    assert after.table == before.table
    for item in spoiled:
        if item.traffic == {"name": None}:
            assert any("status.traffic" in said for said in after.problems[item.title])


def test_what_is_bad_keeps_its_last_form_with_the_addresses_of_now():
    good = assemble([resource("chat", traffic())], [pods("chat-0", 1)], {}).good
    bad = traffic("chat", 60, 60)
    after = assemble([resource("chat", bad)], [pods("chat-0", 2)], {}, good)
    (revision,) = after.table.models["chat"].revisions
    assert (revision.weight, revision.endpoints) == (100, ("http://10.0.0.2:8000",))
    assert after.problems["ns/chat"] == (
        "status.traffic: $.revisions: weights sum to 120, they must sum to 100 or all be 0; "
        "the last good one still counts",
    )


def test_a_status_that_is_lost_takes_no_route_away_and_one_that_never_was_gives_none():
    assert assemble([resource("chat", None)], [], {}).table.models == {}
    good = assemble([resource("chat", traffic())], [], {}).good
    after = assemble([resource("chat", None)], [], {}, good)
    assert list(after.table.models) == ["chat"]
    assert after.problems["ns/chat"] == ("status.traffic is gone; the last one still counts",)


def test_a_deleted_model_has_no_route():
    good = assemble([resource("chat", traffic())], [], {}).good
    assert assemble([], [], {}, good) == assemble([], [], {})


def test_the_oldest_resource_has_the_name():
    young = resource("a", traffic("chat", 10, 90), "2026-01-02T00:00:00Z")
    old = resource("b", traffic("chat"), "2026-01-01T00:00:00Z")
    found = assemble([young, old], [], {})
    assert found.table.models["chat"].resource == "ns/b"
    assert found.problems == {"ns/a": ("the model name 'chat' belongs to ns/b, which is older",)}


def test_a_fallback_leads_to_no_model_of_another_namespace():
    theirs = replace(resource("chat", traffic()), namespace="theirs")
    decoy = resource("decoy", traffic("chat"), "2026-01-02T00:00:00Z")
    links = [{"model": "chat"}, {"model": "near"}, {"model": "gone"}]
    front = resource("front", traffic("front", fallback=links))
    found = assemble([theirs, decoy, front, resource("near", traffic("near"))], [], {})
    assert found.table.models["chat"].resource == "theirs/chat"
    assert [link.model for link in found.table.models["front"].fallback] == ["near", "gone"]
    assert found.problems["ns/front"] == ("fallback 'chat' is theirs/chat of another namespace",)


def test_a_status_cannot_speak_for_another_resource():
    said = traffic() | {"resource": "theirs/chat"}
    assert assemble([resource("chat", said)], [], {}).table.models["chat"].resource == "ns/chat"


def test_keys_are_filled_in_by_what_they_are_for():
    said = traffic(
        tenants=[tenant("a", "a")],
        fallback=[{"url": "https://h/v1", "urlModel": "m",
                   "apiKeySecretRef": {"name": "keys", "key": "up"}}],
        gatewayKeySecretRef={"name": "gate", "key": "key"},
    )  # fmt: skip
    up = KeyRef(SECRET, "up", Purpose.SHOWN)
    assert references([resource("chat", said)]) == {tenant_key("a"), up, GATE}
    keys = {
        tenant_key("a"): Material(hashes=frozenset({"a" * 64})),
        up: Material(text="sk-up"),
        GATE: Material(text="gate"),
    }
    route = assemble([resource("chat", said)], [], keys).table.models["chat"]
    assert route.tenants is not None
    assert route.tenants[0].key_hashes == {"a" * 64}
    assert (route.fallback[0].api_key, route.gateway_key) == ("sk-up", "gate")


def test_a_new_model_waits_for_its_keys_and_one_that_serves_does_not():
    plain, locked = traffic(), traffic(tenants=[tenant("a", "a")])
    assert assemble([resource("chat", locked)], [], {}).table.models == {}
    good = assemble([resource("chat", plain)], [], {}).good
    route = assemble([resource("chat", locked)], [], {}, good).table.models["chat"]
    assert route.tenants is not None
    assert route.tenants[0].key_hashes == frozenset()


def test_a_link_whose_key_is_missing_is_left_out_and_said():
    link = {"url": "https://h/v1", "urlModel": "m", "apiKeySecretRef": {"name": "keys", "key": "x"}}
    keys = {KeyRef(SECRET, "x", Purpose.SHOWN): Material(trouble="Secret 'keys' does not exist")}
    found = assemble([resource("chat", traffic(fallback=[link]))], [], keys)
    assert found.table.models["chat"].fallback == ()
    assert found.problems["ns/chat"] == ("fallback https://h/v1: Secret 'keys' does not exist",)


def test_a_key_of_two_tenants_belongs_to_the_first_and_costs_no_route():
    said = traffic(tenants=[tenant("a", "a"), tenant("b", "b")])
    keys = {
        tenant_key("a"): Material(hashes=frozenset({"a" * 64})),
        tenant_key("b"): Material(hashes=frozenset({"a" * 64, "b" * 64})),
    }
    found = assemble([resource("chat", said)], [], keys)
    first, second = found.table.models["chat"].tenants or ()
    assert (first.key_hashes, second.key_hashes) == ({"a" * 64}, {"b" * 64})
    assert found.problems["ns/chat"] == ("tenant 'b' has a key of 'a'",)


def test_the_table_is_what_the_parser_makes_of_the_same_entries():
    said = traffic("chat", 90, 10)
    found = assemble([resource("chat", said)], [pods("chat-0", 1)], {})
    entry = said | {
        "revisions": [
            {**said["revisions"][0], "endpoints": [{"url": "http://10.0.0.1:8000"}]},
            {**said["revisions"][1], "endpoints": []},
        ]
    }
    assert parse({"schemaVersion": 1, "models": [entry]}) == found.table


def test_how_a_rollout_stands_is_told_and_routes_nothing():
    rollout = {"phase": "Paused", "message": "by command"}
    told = replace(resource("a", traffic()), rollout=rollout)
    (with_words,) = assemble([told], [pods("chat-0", 1)], {}).table.models.values()
    (without,) = assemble([resource("a", traffic())], [pods("chat-0", 1)], {}).table.models.values()
    assert (with_words.standing.phase, without.standing) == ("Paused", None)
    assert replace(with_words, standing=None) == without
