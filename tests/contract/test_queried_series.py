"""Dashboards, rules and alerts ask only for series, and by labels, that something exports."""

import re

import pytest
import yaml

from chart_render import CHART, ROOT, dashboards
from pagelet.dashboards.__main__ import BOARDS

_SERIES = re.compile(r"\b(?:pagelet_(?:engine|gateway|operator)_|vllm:)\w+")
_SELECTED = re.compile(r"\b((?:pagelet_(?:engine|gateway|operator)_|vllm:)\w+)\{([^}]*)\}")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
_ADDED_BY_PROMETHEUS = {"instance", "job", "le"}


def exported() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of every series on the reference page, which is made of the registries."""
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w:]+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def expressions() -> list[str]:
    groups = yaml.safe_load((CHART / "files" / "rules.yaml").read_text("utf-8"))["groups"]
    rules = [rule["expr"] for group in groups for rule in group["rules"]]
    panels = [q.expr for board in BOARDS for panel in board.panels for q in panel.queries]
    chosen = [variable.query for board in BOARDS for variable in board.variables]
    return [*rules, *panels, *chosen]


def known(name: str) -> tuple[str, set[str]]:
    series = exported()
    if name in series:
        return series[name]
    kind, labels = series[_SUFFIX.sub("", name)]
    assert kind == "histogram", f"{name} is not a histogram"
    return kind, labels


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_exported(expression):
    names = _SERIES.findall(expression)
    assert names or "pagelet:" in expression
    for name in names:
        known(name)
    for name, matchers in _SELECTED.findall(expression):
        asked = set(re.findall(r"(\w+)\s*(?:=|!=)~?\"|(\w+)=~", matchers))
        labels = {label for pair in asked for label in pair if label}
        _, there = known(name)
        # A collector made on each scrape tells the page no labels; the live test asks it.
        if there:
            assert labels <= there | _ADDED_BY_PROMETHEUS, f"{name} has no {labels - there}"


@pytest.mark.parametrize("expression", expressions())
def test_rates_are_taken_of_what_only_grows(expression):
    for name in re.findall(r"\b(?:rate|increase)\(([\w:]+)", expression):
        kind, _ = known(name)
        assert kind in ("counter", "histogram"), f"{name} is a {kind}"


def test_uids_are_stable_and_titles_are_their_own():
    assert [board.uid for board in BOARDS] == [
        "pagelet-fleet", "pagelet-model", "pagelet-engine", "pagelet-operator",
    ]  # fmt: skip
    for board in BOARDS:
        titles = [panel.title for panel in board.panels]
        assert len(set(titles)) == len(titles)
        assert all(panel.about.endswith(".") for panel in board.panels)
    assert {found["uid"] for found in dashboards().values()} == {board.uid for board in BOARDS}


def test_the_runbook_names_panels_that_exist():
    titles = {panel.title for board in BOARDS for panel in board.panels}
    boards = {f"Pagelet / {board.title}" for board in BOARDS}
    text = " ".join((ROOT / "docs" / "runbook.md").read_text("utf-8").split())
    named = set(re.findall(r"[Pp]anel \*([^*]+)\*", text))
    assert named
    assert named <= titles
    assert set(re.findall(r"Dashboard \*([^*]+)\*", text)) <= boards
