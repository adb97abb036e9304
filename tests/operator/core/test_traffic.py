from pagelet_operator.core.traffic import SCHEMA_VERSION, route_table


def test_the_table_is_versioned_and_sorted_so_that_equal_worlds_give_equal_bytes():
    entries = [{"name": "b"}, {"name": "a"}]
    table = route_table(entries)
    assert table == {"schemaVersion": SCHEMA_VERSION, "models": [{"name": "a"}, {"name": "b"}]}
    assert route_table(reversed(entries)) == table
