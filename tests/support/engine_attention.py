"""Random attention problems over a paged cache, blocks in any order."""

from dataclasses import dataclass

import torch

from pagelet_engine.attention.kv_cache import KVCache, LayerCache
from pagelet_engine.attention.metadata import AttentionMetadata

HEAD_DIM = 8
BLOCK_SIZE = 16


@dataclass(frozen=True)
class AttentionCase:
    metadata: AttentionMetadata
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    past: torch.Tensor
    """The cache before the step, [2, num_blocks + 1, block_size, num_kv_heads, head_dim]."""
    block_size: int = BLOCK_SIZE

    def fresh_layer(self) -> LayerCache:
        past = self.past.clone()
        return LayerCache(past[0], past[1])


def make_case(
    decode_lens: list[int],
    prompt_runs: list[tuple[int, int]],
    *,
    num_q_heads: int,
    num_kv_heads: int,
    dtype: torch.dtype = torch.float32,
    foreign: float = 0.0,
) -> AttentionCase:
    """Return a step.

    Args:
        decode_lens: Tokens of each decoding sequence, the new one included.
        prompt_runs: New and past tokens of each other sequence.
        num_q_heads: Query heads.
        num_kv_heads: Divides `num_q_heads`.
        dtype: Of everything.
        foreign: What blocks of nobody hold.
    """
    runs = [(1, n - 1) for n in sorted(decode_lens)] + prompt_runs
    seq_lens = [new + past for new, past in runs]
    num_blocks = sum(-(-n // BLOCK_SIZE) for n in seq_lens) + 3
    cache = KVCache(
        num_layers=1, num_blocks=num_blocks, block_size=BLOCK_SIZE, num_kv_heads=num_kv_heads,
        head_dim=HEAD_DIM, dtype=dtype, device=torch.device("cpu"),
    )  # fmt: skip
    torch.manual_seed(sum(seq_lens))
    order = torch.randperm(num_blocks).tolist()
    width = max(-(-n // BLOCK_SIZE) for n in seq_lens)
    tables = torch.full((len(runs), width), cache.null_block)
    past = torch.full((2, num_blocks + 1, BLOCK_SIZE, num_kv_heads, HEAD_DIM), foreign, dtype=dtype)
    past[:, cache.null_block] = 0
    slots: list[int] = []
    for index, (new, old) in enumerate(runs):
        for column in range(-(-(new + old) // BLOCK_SIZE)):
            tables[index, column] = block = order.pop()
            past[:, block] = torch.randn(past[:, block].shape)
        positions = range(old, old + new)
        slots += [int(tables[index, p // 16]) * BLOCK_SIZE + p % BLOCK_SIZE for p in positions]
    metadata = AttentionMetadata(
        num_decodes=len(decode_lens),
        query_lens=[new for new, _ in runs],
        seq_lens=seq_lens,
        block_tables=tables,
        slot_mapping=torch.tensor(slots),
    )
    num_tokens = len(slots)
    return AttentionCase(
        metadata,
        torch.randn(num_tokens, num_q_heads, HEAD_DIM).to(dtype),
        torch.randn(num_tokens, num_kv_heads, HEAD_DIM).to(dtype),
        torch.randn(num_tokens, num_kv_heads, HEAD_DIM).to(dtype),
        past,
    )
