"""The oracle: paged attention one sequence and one head at a time, in float32.

Slow and obviously right. Every other path must agree with it; nothing in production calls it.

Source: Vaswani et al. 2017, section 3.2.1; Kwon et al. 2023, section 4.1 (the paged form).
"""

from dataclasses import dataclass

import torch

from pagelet_engine.attention.kv_cache import LayerCache
from pagelet_engine.attention.metadata import AttentionMetadata


@dataclass(frozen=True, slots=True)
class ReferenceStep:
    """See `backend.AttentionStep`."""

    metadata: AttentionMetadata

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layer: LayerCache
    ) -> torch.Tensor:
        """See `backend.AttentionStep.attend`."""
        meta = self.metadata
        layer.write(key, value, meta.slot_mapping)
        outputs: list[torch.Tensor] = []
        row = 0
        for index, query_len in enumerate(meta.query_lens):
            seq_len = meta.seq_lens[index]
            past_key, past_value = (
                cache[meta.block_tables[index]].flatten(0, 1)[:seq_len].float()
                for cache in (layer.key, layer.value)
            )
            new_query = query[row : row + query_len].float()
            outputs.append(_attend_sequence(new_query, past_key, past_value))
            row += query_len
        return torch.cat(outputs).flatten(1).to(query.dtype)


class ReferenceBackend:
    """See `backend.AttentionBackend`."""

    def begin(self, metadata: AttentionMetadata) -> ReferenceStep:
        """See `backend.AttentionBackend.begin`."""
        return ReferenceStep(metadata)


def _attend_sequence(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return [query_len, num_q_heads, head_dim] for the last `query_len` of `key`'s tokens."""
    query_len, num_q_heads, head_dim = query.shape
    seq_len, num_kv_heads, _ = key.shape
    group_size = num_q_heads // num_kv_heads
    output = torch.empty_like(query)
    for position in range(query_len):
        visible = seq_len - query_len + position + 1
        for head in range(num_q_heads):
            kv_head = head // group_size
            scores = key[:visible, kv_head] @ query[position, head] * head_dim**-0.5
            output[position, head] = scores.softmax(0) @ value[:visible, kv_head]
    return output
