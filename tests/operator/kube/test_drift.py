"""Drift: no write when the cluster is as planned, a write for every way in which it is not."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.kube.drift import amount, differs

leaves = st.one_of(st.integers(1, 9), st.booleans(), st.text("abc", min_size=1, max_size=3))
names = st.text("xyz", min_size=1, max_size=2)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.dictionaries(names, inner, max_size=3),
        st.lists(leaves, max_size=3),
        st.lists(
            st.builds(lambda n, v: {"name": n, "value": v}, names, inner),
            max_size=3,
            unique_by=lambda item: item["name"],
        ),
    ),
    max_leaves=12,
)
specs = st.dictionaries(names, values, max_size=4)


def an_object(spec: Any, fields: dict[str, Any] | None = None, **entry: Any) -> dict[str, Any]:
    managed = {"manager": "pagelet-operator", "operation": "Apply", "fieldsV1": fields} | entry
    return {"metadata": {"managedFields": [managed] if fields else []}, "spec": spec}


def wanted(spec: Any) -> dict[str, Any]:
    return {"metadata": {}, "spec": spec}


@given(specs)
def test_an_object_as_planned_needs_no_write(spec: dict[str, Any]) -> None:
    assert not differs(wanted(spec), an_object(copy.deepcopy(spec)))


@given(specs, st.dictionaries(st.text("rst", min_size=1), values))
def test_what_others_add_beside_our_fields_is_theirs(
    spec: dict[str, Any], others: dict[str, Any]
) -> None:
    assert not differs(wanted(spec), an_object(copy.deepcopy(spec) | others))


@given(specs, names, leaves, leaves)
def test_another_value_of_our_field_needs_a_write(
    spec: dict[str, Any], key: str, ours: Any, theirs: Any
) -> None:
    live = an_object(copy.deepcopy(spec) | {key: theirs})
    assert differs(wanted(spec | {key: ours}), live) == (ours != theirs)


@given(specs, names, leaves)
def test_a_field_that_is_missing_needs_a_write(spec: dict[str, Any], key: str, value: Any) -> None:
    live = an_object({name: item for name, item in spec.items() if name != key})
    assert differs(wanted(spec | {key: value}), live) == bool(value)


def test_the_items_of_a_keyed_list_are_told_apart_by_key_whatever_their_order() -> None:
    ours = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    theirs = {"env": [{"name": "C", "value": "3"}, *reversed(ours["env"])]}
    assert not differs(wanted(ours), an_object(theirs))
    for one in ours["env"]:
        assert differs(wanted(ours), an_object({"env": [one]}))


def test_the_order_and_length_of_a_plain_list_matter() -> None:
    for theirs in (["b", "a"], ["a"], ["a", "b", "c"]):
        assert differs(wanted({"args": ["a", "b"]}), an_object({"args": theirs}))


def test_an_empty_value_equals_an_absent_one() -> None:
    ours = {"value": "", "labels": {}, "items": [], "flag": False, "count": 0}
    assert not differs(wanted(ours), an_object({}))


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("1000m", "1", True),
        ("2048Mi", "2Gi", True),
        ("1", 1, True),
        ("0.5", "500m", True),
        ("1k", "1000", True),
        ("1Gi", "1G", False),
        ("1", "2", False),
        ("1", None, False),
    ],
)
def test_quantities_are_compared_as_amounts(ours: str, theirs: Any, same: bool) -> None:
    live = an_object({"limits": {"cpu": theirs} if theirs else {}})
    assert differs(wanted({"limits": {"cpu": ours}}), live) != same


def test_a_string_that_only_looks_like_a_quantity_is_compared_as_text() -> None:
    assert differs(wanted({"args": ["1000m"]}), an_object({"args": ["1"]}))


@pytest.mark.parametrize("text", ["", "m", "1.2.3", "1Zi", "abc"])
def test_what_is_no_quantity_has_no_amount(text: str) -> None:
    assert amount(text) is None


FIELDS = {"f:spec": {"f:a": {}, "f:list": {'k:{"name":"x"}': {".": {}, "f:value": {}}}}}


def test_a_field_we_still_own_but_no_longer_want_needs_a_write() -> None:
    spec = {"a": 1, "list": [{"name": "x", "value": 1}]}
    assert not differs(wanted(spec), an_object(spec, FIELDS))
    for less in ({"a": 1}, {"list": spec["list"]}, {"a": 1, "list": [{"name": "x"}]}):
        assert differs(wanted(less), an_object(spec, FIELDS))
    assert differs(wanted({"a": 1, "list": [{"name": "y", "value": 1}]}), an_object(spec, FIELDS))


def test_the_fields_of_other_managers_and_of_the_status_are_not_ours() -> None:
    for entry in ({"manager": "kubectl"}, {"operation": "Update"}, {"subresource": "status"}):
        assert not differs(wanted({}), an_object({"a": 1}, FIELDS, **entry))


def test_a_key_the_server_filled_in_is_part_of_our_item() -> None:
    fields = {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}}
    ports = [{"name": "http", "port": 80}]
    live = [{"name": "http", "port": 80, "protocol": "TCP"}]
    assert not differs(wanted({"ports": ports}), an_object({"ports": live}, fields))
