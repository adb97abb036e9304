"""Runs the model on a step: the one place where plan, weights and cache meet."""

import torch

from pagelet_engine.attention.backend import AttentionBackend
from pagelet_engine.attention.kv_cache import KVCache
from pagelet_engine.core.sequence import Sequence
from pagelet_engine.core.step_plan import StepPlan
from pagelet_engine.model.llama import Llama
from pagelet_engine.runner.block_tables import BlockTables
from pagelet_engine.runner.input_batch import build_batch
from pagelet_engine.runner.sampler import mix, sample
from pagelet_engine.runner.sampling_row import SamplingRow


class ModelRunner:
    """Computes plans, in the order they were made."""

    def __init__(
        self,
        model: Llama,
        cache: KVCache,
        backend: AttentionBackend,
        tables: BlockTables,
        *,
        device: torch.device,
        seed: int,
    ) -> None:
        """Put the parts together.

        Args:
            model: On `device`.
            cache: On `device`.
            backend: Made for `cache`.
            tables: As wide as the longest sequence.
            device: Where everything lies.
            seed: For sequences that bring none.
        """
        self._model = model
        self._cache = cache
        self._backend = backend
        self._tables = tables
        self._device = device
        self._seed = seed
        self._eos_token_ids = frozenset(model.config.eos_token_ids)

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> list[int | None]:
        """Compute a plan that is not empty.

        Returns:
            One token per item of `plan.sampling`, None where no finite logit was left.
        """
        batch = build_batch(plan, self._tables, self._cache.block_size, self._device)
        self._cache.clear_blocks(batch.fresh_blocks)
        hidden = self._model.hidden(
            batch.token_ids, batch.positions, self._backend.begin(batch.attention), self._cache
        )
        sampling = plan.sampling
        if not sampling:
            return []
        logits = self._model.logits(hidden[batch.sampled_rows])
        rows = [self._sampling_row(item.seq) for item in sampling]
        return sample(logits, rows, self._eos_token_ids)

    def _sampling_row(self, seq: Sequence) -> SamplingRow:
        given = seq.sampling.seed
        seed = mix(self._seed) ^ mix(seq.seq_id) if given is None else given
        return SamplingRow(seq.sampling, seed, seq.num_tokens, seq.token_ids, seq.num_prompt_tokens)
