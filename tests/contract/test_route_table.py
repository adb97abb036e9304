"""What the operator writes, the gateway obeys: both sides of the route table in one test."""

import json
from pathlib import Path

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from operator_models import a_fleet, a_model
from pagelet_gateway.core.table_parser import parse
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import RolloutState
from pagelet_operator.core.traffic import route_table

DOCS = Path(__file__).resolve().parents[2] / "docs/reference"
SCHEMA = json.loads((DOCS / "route-table.schema.json").read_text())
revisions = st.sampled_from(["chat-a", "chat-b", "chat-c"])
histories = st.lists(
    st.tuples(revisions, st.dictionaries(revisions, st.integers(0, 3)), st.floats(0, 400)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(histories)
def test_every_table_of_every_rollout_is_understood_as_it_was_meant(history):
    state, now = RolloutState(), 0.0
    for target, ready, passed in history:
        now += passed
        outcome = decide(a_model(target), state, a_fleet(ready), now)
        state = outcome.state
        table = route_table([outcome.plan.traffic])
        jsonschema.validate(table, SCHEMA)
        (model,) = parse(json.dumps(table).encode()).models.values()
        understood = {revision.name: revision.weight for revision in model.revisions}
        assert {name: weight for name, weight in understood.items() if weight} == {
            name: weight for name, weight in outcome.decision.weights.items() if weight
        }


def test_the_documented_example_keeps_to_the_documented_schema_and_parses():
    text = (DOCS / "route-table.example.json").read_text()
    jsonschema.validate(json.loads(text), SCHEMA)
    assert parse(text.encode()).models


def test_several_models_share_one_table():
    routes = [
        decide(a_model(f"{name}-a", served_name=name), RolloutState(), a_fleet(), 0.0).plan.traffic
        for name in ("chat", "code")
    ]
    assert set(parse(route_table(routes)).models) == {"chat", "code"}
