"""The tensor behind the block tables: K and V of every layer, in blocks.

INVARIANT: every slot of a block in use is finite. Blocks are cleared when they are handed to a
sequence, so one whose arithmetic overflowed can never reach another through a reused block
(0 * NaN is NaN, masked or not). The last block is the null block: all zeros, never handed out, it
pads block tables.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class LayerCache:
    """One layer's part, as views of the whole."""

    key: torch.Tensor
    """[num_blocks + 1, block_size, num_kv_heads, head_dim]"""
    value: torch.Tensor
    """[num_blocks + 1, block_size, num_kv_heads, head_dim]"""

    def write(self, key: torch.Tensor, value: torch.Tensor, slot_mapping: torch.Tensor) -> None:
        """Store the K/V of new tokens.

        Args:
            key: [num_tokens, num_kv_heads, head_dim].
            value: Same shape.
            slot_mapping: [num_tokens] int64.
        """
        self.key.view(-1, *self.key.shape[2:]).index_copy_(0, slot_mapping, key)
        self.value.view(-1, *self.value.shape[2:]).index_copy_(0, slot_mapping, value)


class KVCache:
    """All layers: [num_layers, 2, num_blocks + 1, block_size, num_kv_heads, head_dim]."""

    def __init__(
        self,
        *,
        num_layers: int,
        num_blocks: int,
        block_size: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (num_layers, 2, num_blocks + 1, block_size, num_kv_heads, head_dim)
        # Not zeroed as a whole: untouched pages take address space on a CPU, but no memory.
        self._data = torch.empty(shape, dtype=dtype, device=device)
        self.block_size = block_size
        self.null_block = num_blocks
        self.clear_blocks([self.null_block])
        self.layers = [LayerCache(layer[0], layer[1]) for layer in self._data]

    @property
    def num_bytes(self) -> int:
        """Size of the whole cache."""
        return self._data.numel() * self._data.element_size()

    def clear_blocks(self, blocks: list[int]) -> None:
        """Zero `blocks` in every layer; called when they change hands."""
        if blocks:
            index = torch.tensor(blocks, device=self._data.device)
            self._data.index_fill_(2, index, 0)
