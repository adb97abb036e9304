import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.route_table import RouteTable
from pagelet_gateway.core.table_parser import parse
from pagelet_gateway.core.tenancy import Caller, Denial, Directory, opaque_id


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def table(**tenants: list[tuple[str, str]] | None) -> RouteTable:
    """Models by name; each with (tenant, key) pairs, or open."""
    models = []
    for name, pairs in tenants.items():
        model = {"name": name, "resource": f"ns/{name}", "generation": 1, "revisions": []}
        if pairs is not None:
            model["tenants"] = [
                {"name": who, "keys": [{"sha256": digest(key)}]} for who, key in pairs
            ]
        models.append(model)
    return parse({"schemaVersion": 1, "models": models})


MIXED = table(open=None, a=[("red", "key-a")], b=[("blue", "key-b")], nobody=[])


@pytest.mark.parametrize(
    ("model", "key", "found"),
    [
        ("open", None, ""),
        ("open", "key-a", ""),
        ("open", "whatever", ""),
        ("a", "key-a", "red"),
        ("a", "key-b", Denial.NO_SUCH_MODEL),
        ("a", "whatever", Denial.WRONG_KEY),
        ("a", None, Denial.NO_KEY),
        ("nobody", "key-a", Denial.NO_SUCH_MODEL),
        ("nobody", None, Denial.NO_KEY),
        ("missing", "key-a", Denial.NO_SUCH_MODEL),
        ("missing", "whatever", Denial.WRONG_KEY),
        ("missing", None, Denial.NO_KEY),
    ],
)
def test_a_key_opens_its_models_and_tells_nothing_of_others(model, key, found):
    answer = Directory(MIXED).find(model, digest(key) if key else None)
    assert (answer.label if isinstance(answer, Caller) else answer) == found


@given(st.sampled_from(["open", "a", "b", "nobody", "missing", "other"]), st.booleans())
def test_a_stranger_cannot_tell_a_closed_model_from_none(model, has_key):
    key = digest("not a key of anybody") if has_key else None
    answer = Directory(MIXED).find(model, key)
    assert isinstance(answer, Caller) == (model == "open")
    if model != "open":
        assert answer is Directory(MIXED).find("no such model", key)


def test_where_all_is_open_a_wrong_name_is_just_unknown():
    directory = Directory(table(open=None))
    assert directory.find("missing", None) is Denial.NO_SUCH_MODEL
    assert directory.find("missing", digest("x" * 20)) is Denial.NO_SUCH_MODEL


def test_required_keys_close_what_has_no_tenants():
    directory = Directory(MIXED, require_keys=True)
    assert directory.find("open", None) is Denial.NO_KEY
    assert directory.find("open", digest("key-a")) is Denial.NO_SUCH_MODEL
    assert directory.find("a", digest("key-a")).label == "red"
    assert Directory(table(), require_keys=True).find("m", None) is Denial.NO_KEY


@pytest.mark.parametrize(
    ("key", "required", "seen"),
    [
        (None, False, ["open"]),
        ("key-a", False, ["a", "open"]),
        ("key-b", True, ["b"]),
        ("whatever", True, []),
    ],
)
def test_a_key_sees_what_it_may_use(key, required, seen):
    directory = Directory(MIXED, require_keys=required)
    found = directory.visible(digest(key) if key else None)
    assert [route.name for route in found] == seen
    assert directory.is_stranger(digest(key) if key else None) == (not seen)


def test_ids_are_stable_distinct_and_no_names():
    assert opaque_id("ns/m", "red") == opaque_id("ns/m", "red")
    assert "red" not in opaque_id("ns/m", "red")
    pairs = [("ns/m", "red"), ("ns/m", "blue"), ("ns/mr", "ed"), ("ns/", "mred")]
    assert len({opaque_id(*pair) for pair in pairs}) == len(pairs)
