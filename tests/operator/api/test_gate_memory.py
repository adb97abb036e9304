"""Results of gates survive being stored, in an order that does not change by itself."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.api import gate_memory
from pagelet_operator.api.memory import rollout_status, state
from pagelet_operator.core.gates import GateKey, GateKind, GateResult, GateStatus
from pagelet_operator.core.lengths import Lengths
from pagelet_operator.core.rollout import RolloutState

TIMES = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)
KEYS = st.builds(
    GateKey, st.sampled_from(["chat-a", "chat-b"]), st.sampled_from(GateKind), st.text(max_size=8)
)
COUNTS = st.just(()) | st.lists(st.integers(0, 99), min_size=16, max_size=16).map(tuple)
RESULTS = st.builds(
    GateResult,
    status=st.sampled_from([item for item in GateStatus if item is not GateStatus.MEASURED]),
    message=st.text(max_size=20),
    started_at=TIMES,
    finished_at=st.none() | TIMES,
    errors=st.integers(0, 9),
    figures=st.dictionaries(st.text(max_size=5), st.floats(0, 1e9), max_size=3),
    lengths=st.builds(Lengths, prompt=COUNTS, output=COUNTS),
)


@given(st.dictionaries(KEYS, RESULTS, max_size=5))
def test_what_is_stored_is_read_back(memory):
    kept = RolloutState(stable="chat-a", gates=memory)
    stored = rollout_status(kept).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert state(stored).gates == memory


@given(st.lists(st.tuples(KEYS, RESULTS), max_size=5, unique_by=lambda item: item[0]))
def test_the_order_of_looking_changes_nothing(items):
    assert gate_memory.wire(dict(items)) == gate_memory.wire(dict(reversed(items)))
