"""One sequence's tokens on their way from the engine process to whoever asked for them.

What is not read yet is bounded: beyond `max_unread_bytes` the engine is told to hold the sequence
back, and to go on once everything was read. What a step or two had under way still comes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from math import ceil

from pagelet_engine.core.finish import ErrorKind, FinishReason
from pagelet_engine.core.logprobs import TokenLogprobs
from pagelet_engine.errors import (
    DeadlineError,
    EngineError,
    GenerationError,
    InvalidRequestError,
    OverloadedError,
)
from pagelet_engine.messages import TokenOutput

_TOKEN_BYTES = 64
"""What an unread token is taken to weigh here and as text on the wire; most weigh less."""
_LOGPROB_BYTES = 128
"""The same for each token that log-probabilities name."""


class Generation:
    """One sequence's tokens as they arrive; to be iterated once, by one task."""

    def __init__(
        self,
        seq_id: int,
        abort: Callable[[int], None],
        hold: Callable[[int, bool], None],
        max_unread_bytes: int,
    ) -> None:
        """Start empty.

        Args:
            seq_id: Its id.
            abort: Ends it in the engine.
            hold: Holds it back in the engine (True), or lets it go on (False).
            max_unread_bytes: When to hold it back.
        """
        self.seq_id = seq_id
        self._abort = abort
        self._hold = hold
        self._max_unread_bytes = max_unread_bytes
        self._unread_bytes = 0
        self._is_held = False
        self._token_ids: list[int] = []
        self._logprobs: list[TokenLogprobs] = []
        self._prompt_logprobs: list[TokenLogprobs] = []
        self._num_cached_tokens = 0
        self._finish_reason: FinishReason | None = None
        self._error: EngineError | None = None
        self._is_read = False
        self._changed = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[TokenOutput]:
        return self

    async def __anext__(self) -> TokenOutput:
        """Wait for tokens; those of several steps come together if the caller was slow.

        Raises:
            StopAsyncIteration: The last output, with `finish_reason`, has been returned.
            GenerationError: The engine gave this sequence up.
            InvalidRequestError: It can never run.
            OverloadedError: It was not taken, or waited too long.
            DeadlineError: Its deadline passed.
            EngineDeadError: The engine process is gone.
        """
        await self._changed.wait()
        if self._error is not None and not self._token_ids:
            raise self._error
        if self._is_read:
            raise StopAsyncIteration
        finish_reason = None if self._error is not None else self._finish_reason
        self._is_read = finish_reason is not None
        if self._finish_reason is None and self._error is None:
            self._changed.clear()
        token_ids, self._token_ids = self._token_ids, []
        logprobs, self._logprobs = self._logprobs, []
        prompt_logprobs, self._prompt_logprobs = self._prompt_logprobs, []
        self._unread_bytes = 0
        self._let_go_on()
        return TokenOutput(
            self.seq_id,
            token_ids,
            finish_reason,
            num_cached_tokens=self._num_cached_tokens,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
        )

    def abort(self) -> None:
        """Stop generating and free the sequence's blocks; nothing happens if it has ended."""
        self._abort(self.seq_id)

    def feed(self, output: TokenOutput) -> None:
        """Take what the engine has generated."""
        self._prompt_logprobs += output.prompt_logprobs
        if output.prompt_logprobs and not output.token_ids:
            return  # the first token says that all have come
        self._token_ids += output.token_ids
        self._logprobs += output.logprobs
        self._unread_bytes += _weight(output)
        self._num_cached_tokens = output.num_cached_tokens
        self._finish_reason = output.finish_reason
        if output.finish_reason in (FinishReason.ERROR, FinishReason.ABORT):
            self.fail(_error(output))
        elif output.finish_reason is None and self._unread_bytes > self._max_unread_bytes:
            self._hold_back()
        self._changed.set()

    def fail(self, error: EngineError) -> None:
        """End with `error`, once the tokens that did arrive have been read."""
        self._error = error
        self._changed.set()

    def _hold_back(self) -> None:
        if not self._is_held:
            self._is_held = True
            self._hold(self.seq_id, True)

    def _let_go_on(self) -> None:
        if self._is_held:
            self._is_held = False
            self._hold(self.seq_id, False)


def _weight(output: TokenOutput) -> int:
    """Return the bytes that an output is taken to need until it has been read."""
    num_named = sum(len(found.top) + 1 for found in output.logprobs)
    return len(output.token_ids) * _TOKEN_BYTES + num_named * _LOGPROB_BYTES


def _error(output: TokenOutput) -> EngineError:
    message = output.error or "The engine gave this sequence up."
    match output.error_kind:
        case ErrorKind.INVALID:
            return InvalidRequestError(message)
        case ErrorKind.OVERLOADED:
            return OverloadedError(message, retry_after_s=ceil(output.retry_after_s or 1.0))
        case ErrorKind.TIMEOUT:
            return DeadlineError(message)
    return GenerationError(message)
