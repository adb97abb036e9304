from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.fallback import MAX_LINKS, chain_of, hops
from pagelet_gateway.core.route_table import RouteTable
from pagelet_gateway.core.table_parser import parse


def table(**fallbacks: list[Any]) -> RouteTable:
    """Models by name with their fallbacks: names, or (url, model)."""
    return parse(
        {
            "schemaVersion": 1,
            "models": [
                {
                    "name": name,
                    "resource": f"default/{name}",
                    "generation": 1,
                    "revisions": [],
                    "fallback": [
                        {"model": item}
                        if isinstance(item, str)
                        else {"url": item[0], "urlModel": item[1]}
                        for item in items
                    ],
                }
                for name, items in fallbacks.items()
            ],
        }
    )


def names(routes: RouteTable, model: str) -> list[str]:
    return [link.name for link in chain_of(routes, model).links]


def test_fallbacks_come_in_order_each_with_its_own_behind_it():
    routes = table(a=["b", ("https://x/v1", "big")], b=["c"], c=[])
    assert names(routes, "a") == ["b", "c", "big"]
    assert names(routes, "b") == ["c"]
    assert names(routes, "c") == []
    assert chain_of(routes, "a").links[2].external.url == "https://x/v1"


def test_a_loop_is_followed_once_and_named():
    routes = table(a=["b"], b=["c"], c=["b", "d"], d=[])
    found = chain_of(routes, "a")
    assert [link.name for link in found.links] == ["b", "c", "d"]
    assert found.loop == ("b", "c", "b")
    assert chain_of(table(a=["a"]), "a").loop == ("a", "a")


def test_two_ways_to_the_same_model_are_no_loop():
    found = chain_of(table(a=["b", "c"], b=["d"], c=["d"], d=[]), "a")
    assert [link.name for link in found.links] == ["b", "d", "c"]
    assert found.loop == ()


def test_a_model_without_a_route_is_named_and_passed_over():
    found = chain_of(table(a=["gone", "b"], b=[]), "a")
    assert [link.name for link in found.links] == ["b"]
    assert found.unknown == ("gone",)


def test_two_models_of_one_api_elsewhere_are_two_links():
    routes = table(a=[("https://x/v1", "big"), ("https://x/v1", "small"), ("https://x/v1", "big")])
    assert names(routes, "a") == ["big", "small"]


def test_hops_are_small_numbers_or_nothing():
    assert [hops(value) for value in (None, "0", "2", "17")] == [0, 0, 2, 17]
    assert [hops(value) for value in ("", "-1", "999", "x", "1.5", "\u0663")] == [None] * 6


graphs = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=4), min_size=1
)


@given(graphs)
def test_any_table_gives_a_short_chain_without_repeats_or_the_model_itself(graph):
    routes = table(**graph)
    for model in graph:
        found = chain_of(routes, model)
        links = [link.name for link in found.links]
        assert len(links) == len(set(links)) <= MAX_LINKS
        assert model not in links
        assert set(links) <= set(graph)
        assert all(name not in graph for name in found.unknown)
        if found.loop:
            assert found.loop[0] == found.loop[-1]
            for name, follower in zip(found.loop, found.loop[1:], strict=False):
                assert follower in graph[name]


def test_a_chain_has_an_end():
    count = 3 * MAX_LINKS
    wide = table(a=[f"m{i}" for i in range(count)], **{f"m{i}": [] for i in range(count)})
    assert names(wide, "a") == [f"m{i}" for i in range(MAX_LINKS)]
    deep = table(**{f"m{i}": [f"m{i + 1}"] for i in range(count)}, **{f"m{count}": []})
    assert len(names(deep, "m0")) == MAX_LINKS
