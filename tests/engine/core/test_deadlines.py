"""Time runs out once, for those it has run out for, and nobody else."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.core.deadlines import Deadlines
from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.sequence import Sequence


def _seq(seq_id: int, arrived_at: float = 0.0, deadline: float | None = None) -> Sequence:
    return Sequence(
        seq_id, [1], SamplingParams(max_tokens=1), arrived_at=arrived_at, deadline=deadline
    )


@given(
    st.lists(st.tuples(st.floats(0, 9), st.one_of(st.none(), st.floats(0, 20))), max_size=12),
    st.one_of(st.none(), st.floats(0.1, 9)),
    st.sets(st.integers(0, 11)),
    st.sets(st.integers(0, 11)),
)
def test_each_expires_at_its_first_limit_and_those_that_ended_never(
    times: list[tuple[float, float | None]],
    timeout_s: float | None,
    ended: set[int],
    admitted: set[int],
):
    deadlines = Deadlines(timeout_s)
    expected: dict[int, float] = {}
    for seq_id, (arrived_at, deadline) in enumerate(times):
        seq = _seq(seq_id, arrived_at, deadline)
        deadlines.watch(seq)
        limits = [] if deadline is None else [deadline]
        if seq_id in admitted:
            seq.num_cached_tokens = 0
        elif timeout_s is not None:
            limits.append(arrived_at + timeout_s)
        if seq_id in ended:
            seq.finish(FinishReason.ABORT)
            deadlines.note_end(seq)
        elif limits:
            expected[seq_id] = min(limits)
    seen: dict[int, float] = {}
    for now in sorted([*expected.values(), 100.0]):
        for item in deadlines.pop_expired(now):
            assert item.seq.seq_id not in seen
            item.seq.finish(FinishReason.ERROR)
            seen[item.seq.seq_id] = now
    assert seen == expected


def test_a_sequence_that_ended_is_let_go_of_long_before_its_deadline():
    deadlines = Deadlines(1000.0)
    for seq_id in range(1000):
        seq = _seq(seq_id, deadline=500.0)
        deadlines.watch(seq)
        seq.finish(FinishReason.ABORT)
        deadlines.note_end(seq)
    assert len(deadlines._heap) < 10
