"""The seam between a model and the kernels that serve it.

A backend looks at a step once (`begin`), so that masks, groups and work lists are made once and
not per layer; the `AttentionStep` it returns then runs in every layer.
"""

from typing import Protocol

import torch

from pagelet_engine.attention.kv_cache import LayerCache
from pagelet_engine.attention.metadata import AttentionMetadata


class AttentionStep(Protocol):
    """Attention of one step, ready to run in any layer."""

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layer: LayerCache
    ) -> torch.Tensor:
        """Store the new K/V, then attend every new token to its sequence's past and itself.

        Args:
            query: [num_tokens, num_q_heads, head_dim], rotated.
            key: [num_tokens, num_kv_heads, head_dim], rotated.
            value: [num_tokens, num_kv_heads, head_dim].
            layer: The layer's cache; written at the step's slots.

        Returns:
            [num_tokens, num_q_heads * head_dim], dtype of `query`.
        """
        ...


class AttentionBackend(Protocol):
    """One way to compute attention on one kind of device."""

    def begin(self, metadata: AttentionMetadata) -> AttentionStep:
        """Prepare one step."""
        ...
