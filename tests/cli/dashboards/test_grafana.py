"""A board becomes JSON that Grafana can lay out: ids and places are each a panel's own."""

import string

from hypothesis import given
from hypothesis import strategies as st

from pagelet.dashboards.grafana import COLUMNS, Board, Panel, Query, Variable, dashboard

names = st.text(string.ascii_letters, min_size=1, max_size=8)
panels = st.builds(
    Panel,
    title=names,
    queries=st.lists(st.builds(Query, names, names), min_size=1, max_size=4).map(tuple),
    about=names,
    kind=st.sampled_from(["timeseries", "stat", "table"]),
    width=st.integers(1, COLUMNS),
    height=st.integers(1, 12),
    thresholds=st.sampled_from([(), (1.0,), (1.0, 2.0)]),
)
boards = st.builds(
    Board,
    uid=names,
    title=names,
    about=names,
    panels=st.lists(panels, max_size=12).map(tuple),
    variables=st.lists(
        st.builds(Variable, name=names, query=names, label=names, all=st.booleans()), max_size=3
    ).map(tuple),
)


def cells(place):
    return {
        (x, y)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    }


@given(boards)
def test_no_two_panels_share_a_place_or_an_id_and_none_leaves_the_grid(board):
    found = dashboard(board)["panels"]
    assert len(found) == len(board.panels)
    assert len({panel["id"] for panel in found}) == len(found)
    taken = [cells(panel["gridPos"]) for panel in found]
    assert sum(map(len, taken)) == len(set().union(*taken))
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= COLUMNS for panel in found)


@given(boards)
def test_every_query_is_there_once_and_asks_the_chosen_source(board):
    for panel, made in zip(board.panels, dashboard(board)["panels"], strict=True):
        assert [target["expr"] for target in made["targets"]] == [q.expr for q in panel.queries]
        assert len({target["refId"] for target in made["targets"]}) == len(panel.queries)
        assert {target["datasource"]["uid"] for target in made["targets"]} == {"${source}"}
        assert all(target["instant"] != target["range"] for target in made["targets"])
        assert made["fieldConfig"]["defaults"]["unit"] == panel.unit


@given(boards)
def test_a_choice_of_several_begins_with_all(board):
    source, *variables = dashboard(board)["templating"]["list"]
    assert source["type"] == "datasource"
    for variable, made in zip(board.variables, variables, strict=True):
        assert (made["includeAll"], made["multi"]) == (variable.all, variable.all)
        assert ("current" in made) == variable.all
