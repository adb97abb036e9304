"""The gathered path equals the oracle on any mix of lengths, and sees only its own blocks."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_attention import AttentionCase, make_case
from pagelet_engine.attention.gathered import GatheredBackend
from pagelet_engine.attention.reference import ReferenceBackend

BOUNDARIES = [1, 2, 15, 16, 17, 31, 32, 33, 48, 65]
decodes = st.lists(st.sampled_from(BOUNDARIES), max_size=6)
prompts = st.lists(st.tuples(st.integers(2, 40), st.sampled_from([0, *BOUNDARIES])), max_size=3)


@dataclass(frozen=True)
class Heads:
    query: int
    kv: int


def _run(case: AttentionCase, backend: GatheredBackend | ReferenceBackend) -> torch.Tensor:
    layer = case.fresh_layer()
    return backend.begin(case.metadata).attend(case.query, case.key, case.value, layer)


def _gathered(case: AttentionCase) -> GatheredBackend:
    token_bytes = case.key[0].numel() * case.key.element_size()
    return GatheredBackend(
        block_size=case.block_size, dtype=case.key.dtype, token_bytes=token_bytes
    )


@given(decodes, prompts, st.sampled_from([Heads(1, 1), Heads(4, 1), Heads(6, 2), Heads(8, 8)]))
@settings(max_examples=60, deadline=None)
def test_any_mix_of_decodes_and_prompts_equals_the_oracle(
    decode_lens: list[int], prompt_runs: list[tuple[int, int]], heads: Heads
):
    if not decode_lens and not prompt_runs:
        return
    case = make_case(decode_lens, prompt_runs, num_q_heads=heads.query, num_kv_heads=heads.kv)
    torch.testing.assert_close(
        _run(case, _gathered(case)), _run(case, ReferenceBackend()), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float32, 1e-5)])
def test_each_dtype_stays_within_its_rounding(dtype: torch.dtype, tolerance: float):
    case = make_case([33, 5], [(20, 17)], num_q_heads=6, num_kv_heads=2, dtype=dtype)
    torch.testing.assert_close(
        _run(case, _gathered(case)), _run(case, ReferenceBackend()), rtol=tolerance, atol=tolerance
    )


def test_many_lengths_split_into_groups_and_still_equal_the_oracle():
    case = make_case(list(range(1, 400, 13)), [], num_q_heads=2, num_kv_heads=1)
    backend = GatheredBackend(block_size=case.block_size, dtype=torch.float32, token_bytes=2**14)
    assert len(backend.begin(case.metadata).groups) > 3
    torch.testing.assert_close(
        _run(case, backend), _run(case, ReferenceBackend()), rtol=1e-4, atol=1e-5
    )


def test_what_lies_in_other_blocks_cannot_be_seen():
    case = make_case(
        [17, 40], [(9, 0), (9, 20)], num_q_heads=4, num_kv_heads=2, foreign=float("nan")
    )
    assert _run(case, _gathered(case)).isfinite().all()
