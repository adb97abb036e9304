"""The reference page: every field has its line, its default and its meaning."""

import re
from typing import Any

from pagelet_operator.kube.crd import spec_schema, status_schema
from pagelet_operator.kube.reference import page

ROWS = {
    found[1]: found[0]
    for found in re.finditer(r"^\| `([^`]+)` \|.*$", page(), re.MULTILINE)
}  # fmt: skip


def paths(schema: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        found += [here, *paths(inner, here), *paths(inner.get("items", {}), f"{here}[]")]
    return found


def test_every_field_of_spec_and_status_has_a_line() -> None:
    assert {*paths(spec_schema()), *paths(status_schema())} == ROWS.keys()


def test_a_line_says_type_default_and_meaning() -> None:
    assert ROWS["engine.maxNumSeqs"].startswith(
        "| `engine.maxNumSeqs` | integer, 1 to 4096 | `64` | Most sequences in one step."
    )
    assert "| required |" in ROWS["model.source"]
    assert "| `60s` |" in ROWS["rollout.steps[].hold"]


def test_every_line_has_four_cells() -> None:
    assert all(len(re.split(r"(?<!\\)\|", line)) == 6 for line in ROWS.values())
