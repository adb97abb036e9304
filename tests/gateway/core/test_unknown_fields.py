import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.unknown_fields import KNOWN, MAX_TOLD, unknown_fields

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def places(schema, node, path="$"):
    """Fields by place, as the schema names them."""
    node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    if "items" in node:
        yield from places(schema, node["items"], f"{path}[]")
    if "properties" in node:
        yield path, sorted(node["properties"])
        for name, inner in node["properties"].items():
            yield from places(schema, inner, f"{path}.{name}")


def test_what_is_known_is_what_the_schema_names():
    schema = json.loads((REFERENCE / "route-table.schema.json").read_text())
    assert dict(places(schema, schema)) == {path: sorted(names) for path, names in KNOWN.items()}


def test_the_example_has_no_unknown_field():
    example = json.loads((REFERENCE / "route-table.example.json").read_text())
    assert unknown_fields(example) == ()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"model": []}, "$.model (models?)"),
        ({"models": [{}, {"tenant": []}]}, "$.models[1].tenant (tenants?)"),
        ({"models": [{"limits": {"tokens_per_minute": 1}}]},
         "$.models[0].limits.tokens_per_minute (tokensPerMinute?)"),
        ({"models": [{"revisions": [{"endpoints": [{"URL": ""}]}]}]},
         "$.models[0].revisions[0].endpoints[0].URL (url?)"),
        ({"models": [{"zzz": {"tenant": 1}}]}, "$.models[0].zzz"),
        ({"a\nb": 1}, "$.'a\\nb'"),
    ],
)  # fmt: skip
def test_each_is_told_by_its_path_and_what_may_be_meant(table, told):
    assert unknown_fields(table) == (told,)


def test_one_mistake_in_every_model_does_not_flood_the_log():
    told = unknown_fields({"models": [{"tenant": []}] * (MAX_TOLD + 5)})
    assert len(told) == MAX_TOLD + 1
    assert told[-1] == "and 5 more"


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["models", "tenants", "keys", "x", ""]), inner)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["models", "schemaVersion", "y"]), json_values))
def test_no_table_of_whatever_shape_breaks_it(table):
    told = unknown_fields(table)
    assert ("$.y" in told) == ("y" in table) or len(told) > MAX_TOLD
