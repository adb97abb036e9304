"""What one replica gives while so many sequences run: latencies, tokens, requests per second.

Steady state: while `n` sequences decode one token each, prompts of as many new ones are computed
as sequences end, so a round costs n decodes and n * E[prompt] / E[output] prompt tokens. Prompts
wait for each other in order: their wait is that of a single server with Poisson arrivals
(Pollaczek-Khinchine; its tail is taken as exponential). Prefix hits are not counted on.
"""

import math
from dataclasses import dataclass

from pagelet_operator.core.planner.memory import MemoryPlan
from pagelet_operator.core.planner.mix import Mix
from pagelet_operator.core.planner.step_time import StepTime

_RARE = 0.01
"""Share of steps below which a prompt chunk is not seen in the p99 of ITL."""
_LEAST = 1e-4
_HALVINGS = 60
_CACHE_SHARE = 0.9
"""Of the KV cache that the mean may use: lengths scatter, and a full cache preempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What users are promised, seconds; None for nothing."""

    ttft_p99_s: float | None = None
    itl_p99_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What one replica gives at one load."""

    running: float
    """Sequences at once, mean."""
    requests_per_s: float
    output_tokens_per_s: float
    total_tokens_per_s: float
    """Prompts included."""
    itl_s: float
    """Mean time between tokens."""
    itl_p99_s: float
    ttft_p50_s: float
    ttft_p95_s: float
    ttft_p99_s: float
    """Infinite where prompts come faster than they are computed."""


def places(memory: MemoryPlan, mix: Mix) -> float:
    """Return the sequences that run at once, on average: by `maxNumSeqs`, and by the cache."""
    held = mix.held_tokens + memory.block_size / 2
    return min(float(memory.max_num_seqs), _CACHE_SHARE * memory.kv_tokens / held)


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine with its memory, its speed and its requests."""

    memory: MemoryPlan
    steps: StepTime
    mix: Mix

    @property
    def places(self) -> float:
        """Most sequences that run at once: by `maxNumSeqs`, and by what the cache holds."""
        return places(self.memory, self.mix)

    def at(self, running: float) -> Service:
        """Return what the replica gives with so many sequences at once, above 0."""
        prompts, outputs = self.mix.prompts, self.mix.outputs
        round_s, steps = self._round(running)
        rate = running / (round_s * outputs.mean)
        waits = self._prompt_waits(running, rate)
        itl = round_s / steps
        return Service(
            running=running,
            requests_per_s=rate,
            output_tokens_per_s=rate * outputs.mean,
            total_tokens_per_s=rate * (outputs.mean + prompts.mean),
            itl_s=itl,
            itl_p99_s=self._itl_p99(running, itl),
            ttft_p50_s=itl / 2 + self._prefill(prompts.p50, running) + waits[0],
            ttft_p95_s=itl + self._prefill(prompts.p95, running) + waits[1],
            ttft_p99_s=itl + self._prefill(prompts.p99, running) + waits[2],
        )

    def idle(self) -> Service:
        """Return what a request finds that comes alone."""
        return self.at(_LEAST)

    def at_rate(self, requests_per_s: float) -> Service | None:
        """Return what it gives at a rate above 0; None if its places do not carry that rate."""
        if self.at(self.places).requests_per_s < requests_per_s:
            return None
        low, high = 0.0, self.places
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self.at(middle).requests_per_s < requests_per_s:
                low = middle
            else:
                high = middle
        return self.at(high)

    def most(self, targets: Targets) -> Service | None:
        """Return the highest load that keeps the targets; None if even an idle replica fails."""
        if self._keeps(self.places, targets):
            return self.at(self.places)
        if not self._keeps(_LEAST, targets):
            return None
        low, high = _LEAST, self.places
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self._keeps(middle, targets):
                low = middle
            else:
                high = middle
        return self.at(low)

    def _keeps(self, running: float, targets: Targets) -> bool:
        given = self.at(running)
        return (
            math.isfinite(given.ttft_p99_s)
            and given.ttft_p99_s <= (targets.ttft_p99_s or math.inf)
            and given.itl_p99_s <= (targets.itl_p99_s or math.inf)
        )

    def _round(self, running: float) -> tuple[float, float]:
        """Return the seconds and steps in which every running sequence gets a token, on average."""
        prompts, outputs = self.mix.prompts, self.mix.outputs
        fresh = running * prompts.mean / outputs.mean
        tokens = running + fresh
        steps = max(1.0, tokens / self.memory.max_num_batched_tokens)
        behind = prompts.mean_square / (2 * prompts.mean)
        held = self.mix.held_tokens
        pairs = running * held + fresh * behind
        keys = running * held + fresh * behind / self.memory.max_num_batched_tokens
        return self.steps.seconds(tokens, pairs, keys) + (steps - 1) * self.steps.base_s, steps

    def _decode_s(self, running: float) -> float:
        """Return what decoding alone adds to a step."""
        seen = running * self.mix.held_tokens
        return self.steps.seconds(running, seen, seen) - self.steps.base_s

    def _prefill(self, num_tokens: float, running: float) -> float:
        """Return the seconds of a prompt's chunks, beside those that decode."""
        chunk = max(1.0, self.memory.max_num_batched_tokens - running)
        steps = max(1.0, num_tokens / chunk)
        alone = self.steps.prompt_seconds(num_tokens, chunk)
        return alone + steps * self._decode_s(running)

    def _prompt_waits(self, running: float, rate: float) -> tuple[float, float, float]:
        prompts = self.mix.prompts
        service = self._prefill(prompts.mean, running)
        busy = rate * service
        if busy >= 1:
            return math.inf, math.inf, math.inf
        square = service * service * max(1.0, prompts.mean_square / prompts.mean**2)
        if_any = square / (2 * service * (1 - busy))
        p50, p95, p99 = (if_any * max(0.0, math.log(busy / rest)) for rest in (0.5, 0.05, 0.01))
        return p50, p95, p99

    def _itl_p99(self, running: float, itl: float) -> float:
        """Return the step with a whole chunk at the end of a long prompt, unless that is rare."""
        prompts, outputs = self.mix.prompts, self.mix.outputs
        room = max(1.0, self.memory.max_num_batched_tokens - running)
        share = running * prompts.mean / outputs.mean / min(room, prompts.mean)
        if share < _RARE:
            return max(itl, self.steps.base_s + self._decode_s(running))
        chunk = min(float(self.memory.max_num_batched_tokens), prompts.p99)
        with_chunk = self.steps.seconds(chunk, chunk * prompts.p99, prompts.p99)
        return max(itl, with_chunk + self._decode_s(running))
