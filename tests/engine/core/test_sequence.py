"""When a sequence ends, and with which reason."""

import pytest

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.sequence import Sequence, SequenceState

EOS = 2
STOP, LENGTH = FinishReason.STOP, FinishReason.LENGTH


@pytest.mark.parametrize(
    ("token", "changes", "max_model_len", "expected"),
    [
        (5, {}, 100, None),
        (EOS, {}, 100, STOP),
        (EOS, {"ignore_eos": True}, 100, None),
        (7, {"stop_token_ids": (7,)}, 100, STOP),
        (7, {"stop_token_ids": (7,), "ignore_eos": True}, 100, STOP),
        (5, {"max_tokens": 1}, 100, LENGTH),
        (EOS, {"max_tokens": 1}, 100, STOP),
        (5, {}, 4, LENGTH),
        (5, {}, 5, None),
    ],
)
def test_a_token_ends_a_sequence_for_one_reason(
    token: int, changes: dict[str, object], max_model_len: int, expected: FinishReason | None
):
    sampling = SamplingParams(**{"max_tokens": 9, **changes})  # type: ignore[arg-type]
    seq = Sequence(1, [1, 1, 1], sampling)
    reason = seq.append_token(token, eos_token_ids=frozenset({EOS}), max_model_len=max_model_len)
    assert reason is expected
    assert seq.output_token_ids == [token]
    assert (seq.num_tokens, seq.num_output_tokens, seq.num_uncomputed_tokens) == (4, 1, 4)


def test_a_finished_sequence_keeps_its_reason():
    seq = Sequence(1, [1], SamplingParams(max_tokens=1))
    seq.finish(FinishReason.ABORT)
    assert seq.state is SequenceState.FINISHED
    assert seq.finish_reason is FinishReason.ABORT


def test_finishing_with_blocks_in_hand_is_a_bug():
    seq = Sequence(1, [1], SamplingParams(max_tokens=1), block_table=[3])
    with pytest.raises(AssertionError):
        seq.finish(STOP)
