"""What the routes act on: one model, its engine process, its text side. Knows no HTTP."""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version

from pagelet_engine.constraints.client import ConstraintClient
from pagelet_engine.constraints.messages import Vocabulary
from pagelet_engine.constraints.spec import Constraint
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine_client import MAX_UNREAD_BYTES, EngineClient
from pagelet_engine.errors import EngineError, InvalidRequestError
from pagelet_engine.messages import Ready
from pagelet_engine.metrics import EngineMetrics
from pagelet_engine.server.auth import Caller, cache_salt
from pagelet_engine.server.lifecycle import Lifecycle
from pagelet_engine.server.prompts import PromptEncoder
from pagelet_engine.server.text_stream import RequestTimer, TextOptions, TextStream
from pagelet_engine.server.writer import Pace
from pagelet_engine.templates.client import TemplateClient
from pagelet_engine.terms import Terms
from pagelet_engine.text.vocabulary import TextModel

_NO_TERMS = Terms()
_MAX_ARRIVING = 256
"""Requests in flight beyond what the engine process takes: being read, tokenized or refused. It is
the engine process that refuses, since it alone knows when another try may succeed."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What is known once the model has loaded."""

    text: TextModel
    encoder: PromptEncoder
    limits: Ready
    fingerprint: str
    """Changes when equal requests with equal seeds may be answered differently: with the weights,
    the arithmetic or the version. Tells nothing else, being a hash."""

    @property
    def max_model_len(self) -> int:
        """Most tokens of one prompt and its output: the context window, or all KV blocks."""
        return min(self.limits.max_model_len, self.limits.num_blocks * self.limits.block_size)


class Service:
    """Serves one model; belongs to one event loop."""

    def __init__(
        self,
        *,
        model_name: str,
        max_queued: int,
        max_num_seqs: int,
        max_body_bytes: int,
        created: int,
        pace: Pace | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            model_name: What clients call the model.
            max_queued: Most sequences that may wait in the engine process, which refuses more.
            max_num_seqs: Most sequences in one step; as many more may be in flight.
            max_body_bytes: Largest request body.
            pace: How long silences on a stream may last.
            created: When this server started, Unix seconds; shown by /v1/models.
        """
        self.model_name = model_name
        self.max_body_bytes = max_body_bytes
        self.created = created
        self.pace = pace or Pace()
        self.metrics = EngineMetrics(model_name)
        self.lifecycle = Lifecycle(max_requests=max_queued + max_num_seqs + _MAX_ARRIVING)
        self.engine: EngineClient | None = None
        self.loaded: LoadedModel | None = None
        self.constraints = ConstraintClient(
            self._vocabulary, on_compiled=self.metrics.observe_compilation
        )
        self.templates: TemplateClient | None = None
        """Renders the loaded model's chat template."""
        self.is_stuck = False
        """Whether the engine process has been silent for too long; the watchdog says so."""
        self.stage = "starting the engine process"
        # Of this process only: cached blocks do not outlive the engine process either.
        self._salt_secret = secrets.token_bytes(32)

    def attach_engine(self, engine: EngineClient) -> None:
        """Use `engine` from now on and show its numbers in /metrics."""
        is_first = self.engine is None
        self.engine = engine
        self.is_stuck = False
        if is_first:
            self.metrics.attach(
                stats=lambda: self._engine().stats,
                limits=lambda: self._engine().limits,
                num_open=lambda: self._engine().num_open,
                silence_s=lambda: self._engine().silence_s(),
                constraints=lambda: (self.constraints.num_open, self.constraints.num_workers),
                num_template_workers=lambda: self.templates.num_workers if self.templates else 0,
            )

    def set_stuck(self, is_stuck: bool) -> None:
        """Say whether the engine process gets anything done."""
        self.is_stuck = is_stuck

    def load(self, text: TextModel, limits: Ready) -> LoadedModel:
        """Remember the loaded model; `lifecycle.serve` is the caller's to call."""
        max_model_len = min(limits.max_model_len, limits.num_blocks * limits.block_size)
        template = text.chat_template
        self.templates = None if template is None else TemplateClient(template)
        encoder = PromptEncoder(
            text,
            max_model_len=max_model_len,
            templates=self.templates,
            on_encoded=self.metrics.observe_prompt,
        )
        self.loaded = LoadedModel(text, encoder, limits, _fingerprint(text, limits))
        return self.loaded

    def model(self) -> LoadedModel:
        """Return the loaded model, which an admitted request can rely on."""
        assert self.loaded is not None, "requests are admitted only once the model is loaded"
        return self.loaded

    def is_live(self) -> bool:
        """Whether the engine process is making progress, or is still starting."""
        if self.engine is None:
            return True
        return not (self.engine.is_dead or self.is_stuck)

    def submit(
        self,
        prompts: Sequence[list[int]],
        samplings: Sequence[SamplingParams],
        options: Sequence[TextOptions],
        *,
        arrived_at: float,
        constraint: str | None = None,
        terms: Terms = _NO_TERMS,
    ) -> list[TextStream]:
        """Start one sequence per prompt: all of them or none.

        Args:
            prompts: Token ids.
            samplings: One per prompt.
            options: One per prompt.
            arrived_at: Loop time.
            constraint: What `constrain` returned.
            terms: From `terms_of`, as of `arrived_at`.

        Raises:
            EngineDeadError: The engine process is gone.
        """
        assert self.engine is not None, "requests are admitted only once the engine runs"
        spent_s = asyncio.get_running_loop().time() - arrived_at
        left = terms.after(spent_s)
        return [
            self._stream(prompt, sampling, option, arrived_at, constraint, left, len(prompts))
            for prompt, sampling, option in zip(prompts, samplings, options, strict=True)
        ]

    def terms_of(self, caller: Caller, limits_s: Sequence[float | None]) -> Terms:
        """Return on whose account a request runs, and for how long: the shortest of `limits_s`."""
        given = [limit_s for limit_s in limits_s if limit_s is not None]
        return Terms(
            cache_salt=cache_salt(self._salt_secret, caller),
            tenant=caller.tenant,
            weight=caller.weight,
            priority=caller.priority,
            deadline_s=min(given, default=None),
        )

    async def constrain(
        self, constraint: Constraint, num_sequences: int, param: str, on_end: ExitStack
    ) -> str:
        """Compile a constraint for the sequences of one request; return what `submit` takes.

        Args:
            constraint: Within the caps.
            num_sequences: How many sequences `submit` will start.
            param: The request's field that demands it.
            on_end: Ends the constraint's process when it is closed.

        Raises:
            InvalidRequestError: It cannot be compiled, or the model cannot end an output.
            UnavailableError: The process that compiles died.
        """
        if not self.model().limits.eos_token_ids:
            raise InvalidRequestError(
                f"{param} needs a model with an end-of-sequence token.", param=param
            )
        compiled = await self.constraints.compile(
            constraint, num_sequences=num_sequences, param=param
        )
        on_end.callback(compiled.close)
        return compiled.address

    def _vocabulary(self) -> Vocabulary:
        model = self.model()
        words = list(map(model.text.tokenizer.token_bytes, range(model.limits.vocab_size)))
        no_text = [token_id for token_id, word in enumerate(words) if not word]
        return Vocabulary(words, no_text, model.limits.eos_token_ids)

    async def warm_up(self) -> None:
        """Generate one token, so that the first client does not pay for what is lazy.

        Raises:
            EngineError: It did not work, so nothing would.
        """
        assert self.engine is not None, "the engine is attached first"
        if self.templates is not None:
            await self.templates.start()
        generation = self.engine.submit([0], SamplingParams(max_tokens=1, temperature=0.0))
        async for _ in generation:
            pass

    async def stop_workers(self) -> None:
        """End the processes that run what is not this program's own: constraints, templates."""
        await self.constraints.stop()
        if self.templates is not None:
            await self.templates.stop()
            self.templates = None

    def fail_all(self, error: EngineError) -> None:
        """End every open stream with `error`."""
        if self.engine is not None:
            self.engine.fail_all(error)

    def _engine(self) -> EngineClient:
        assert self.engine is not None, "requests are admitted only once the engine runs"
        return self.engine

    def _stream(
        self,
        prompt: list[int],
        sampling: SamplingParams,
        options: TextOptions,
        arrived_at: float,
        constraint: str | None,
        terms: Terms,
        num_streams: int,
    ) -> TextStream:
        assert self.engine is not None, "see submit"
        return TextStream(
            self.engine.submit(
                prompt,
                sampling,
                constraint=constraint,
                terms=terms,
                max_unread_bytes=MAX_UNREAD_BYTES // num_streams,
            ),
            self.model().text.tokenizer,
            sampling,
            options,
            eos_token_ids=self.model().limits.eos_token_ids,
            num_prompt_tokens=len(prompt),
            timer=RequestTimer(self.metrics, asyncio.get_running_loop().time, arrived_at),
        )


def _fingerprint(text: TextModel, limits: Ready) -> str:
    parts = (text.digest, limits.dtype, limits.device, limits.max_model_len, limits.block_size)
    told = "\0".join((version("pagelet"), *map(str, parts)))
    return "fp_" + hashlib.sha256(told.encode()).hexdigest()[:12]
