"""The oracle itself, against numbers worked out by hand and against dense attention."""

import math

import torch

from engine_attention import make_case
from pagelet_engine.attention.kv_cache import LayerCache
from pagelet_engine.attention.metadata import AttentionMetadata
from pagelet_engine.attention.reference import ReferenceBackend


def test_one_query_over_two_tokens_gives_the_hand_computed_average():
    # Scores are q·k / sqrt(1) = ln 3 for the past token and 0 for the new one: weights 3/4, 1/4.
    cache = torch.zeros(2, 3, 1, 1, 1)
    cache[0, 2], cache[1, 2] = math.log(3), 8.0
    meta = AttentionMetadata(1, [1], [2], torch.tensor([[2, 0]]), torch.tensor([0]))
    output = ReferenceBackend().begin(meta).attend(
        torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.full((1, 1, 1), 4.0),
        LayerCache(cache[0], cache[1]),
    )  # fmt: skip
    torch.testing.assert_close(output, torch.tensor([[7.0]]))


def test_a_whole_prompt_equals_dense_causal_attention():
    case = make_case([], [(21, 0)], num_q_heads=6, num_kv_heads=2)
    output = (
        ReferenceBackend()
        .begin(case.metadata)
        .attend(case.query, case.key, case.value, case.fresh_layer())
    )
    key, value = (t.repeat_interleave(3, dim=1) for t in (case.key, case.value))
    scores = torch.einsum("qhd,khd->hqk", case.query, key) / math.sqrt(8)
    future = torch.ones(21, 21, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, float("-inf")).softmax(-1)
    dense = torch.einsum("hqk,khd->qhd", weights, value).flatten(1)
    torch.testing.assert_close(output, dense, rtol=1e-4, atol=1e-5)
