"""Runs the model on a step: the one place where plan, weights and cache meet."""

import torch

from pagelet_engine.attention.backend import AttentionBackend
from pagelet_engine.attention.kv_cache import KVCache
from pagelet_engine.constraints.masks import Masks
from pagelet_engine.core.draw import Draw
from pagelet_engine.core.logprobs import StepScores, TokenLogprobs
from pagelet_engine.core.sequence import Sequence
from pagelet_engine.core.step_plan import StepPlan
from pagelet_engine.model.llama import Llama
from pagelet_engine.runner.block_tables import BlockTables
from pagelet_engine.runner.input_batch import InputBatch, build_batch
from pagelet_engine.runner.sampler import mix, sample
from pagelet_engine.runner.sampling_row import SamplingRow
from pagelet_engine.runner.scores import OutputScores, prompt_scores


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
        masks: Masks | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            model: On `device`.
            cache: On `device`.
            backend: Made for `cache`.
            tables: As wide as the longest sequence.
            device: Where everything lies.
            seed: For sequences that bring none.
            masks: Says which tokens constrained sequences may draw; None if there are none.
        """
        self._model = model
        self._cache = cache
        self._backend = backend
        self._tables = tables
        self._masks = Masks(model.config.vocab_size) if masks is None else masks
        self._device = device
        self._seed = seed
        self._eos_token_ids = frozenset(model.config.eos_token_ids)
        self._scores = StepScores()

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> list[Draw]:
        """Compute a plan that is not empty.

        Returns:
            What was drawn for each item of `plan.sampling`.
        """
        batch = build_batch(plan, self._tables, self._cache.block_size, self._device)
        self._cache.clear_blocks(batch.fresh_blocks)
        hidden = self._model.hidden(
            batch.token_ids, batch.positions, self._backend.begin(batch.attention), self._cache
        )
        self._scores = StepScores(prompt=self._prompt_scores(plan, batch, hidden))
        sampling = plan.sampling
        if not sampling:
            return []
        logits = self._model.logits(hidden[batch.sampled_rows])
        rows = [self._sampling_row(item.seq) for item in sampling]
        return self._sample_allowed(logits, rows, [item.seq.seq_id for item in sampling])

    def take_scores(self) -> StepScores:
        """Return the log-probabilities of the last run, once."""
        scores, self._scores = self._scores, StepScores()
        return scores

    def _prompt_scores(
        self, plan: StepPlan, batch: InputBatch, hidden: torch.Tensor
    ) -> dict[int, list[TokenLogprobs]]:
        found: dict[int, list[TokenLogprobs]] = {}
        for item in plan.scheduled:
            if item.seq.sampling.prompt_logprobs is not None:
                first = batch.first_rows[item.seq.seq_id]
                rows = hidden[first : first + item.num_tokens]
                found[item.seq.seq_id] = prompt_scores(item, rows, self._model.logits)
        return {seq_id: scores for seq_id, scores in found.items() if scores}

    def _sample_allowed(
        self, logits: torch.Tensor, rows: list[SamplingRow], seq_ids: list[int]
    ) -> list[Draw]:
        """Draw among the tokens that constraints allow, and tell the matchers what was drawn."""
        scores = OutputScores(logits, rows)
        allowed = self._masks.allowed(seq_ids)
        mask = None if allowed is None else torch.from_numpy(allowed).to(logits.device)
        tokens = sample(logits, rows, self._eos_token_ids, mask)
        self._scores.output.update((seq_ids[row], found) for row, found in scores.of(tokens))
        self._masks.advance(zip(seq_ids, tokens, strict=True))
        return tokens

    def _sampling_row(self, seq: Sequence) -> SamplingRow:
        given = seq.sampling.seed
        seed = mix(self._seed) ^ mix(seq.seq_id) if given is None else given
        return SamplingRow(seq.sampling, seed, seq.num_tokens, seq.token_ids, seq.num_prompt_tokens)
