"""A matcher process: compiles one constraint, then says which tokens may come next.

Runs in a fork of the worker and never returns to it. It has one constraint, so that it can be
killed without asking who else would suffer: the kernel does so when compilation takes too long.
Each connection is one sequence. It is sent a status byte and a mask at once and again after every
token it reports (4 bytes, little-endian), until it closes.
"""

import contextlib
import os
import resource
import selectors
import signal
import socket
from dataclasses import dataclass

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from pagelet_engine.constraints.grammars import grammar_of
from pagelet_engine.constraints.messages import (
    FAILED_STATUS,
    MASK_STATUS,
    Compile,
    Vocabulary,
    mask_bytes,
)
from pagelet_engine.constraints.spec import COMPILE_LIMIT_S, Constraint

CONNECT_LIMIT_S = 60.0
"""How long an unused matcher process lives, should nobody be left to discard it."""
MEMORY_LIMIT_BYTES = 512 * 1024 * 1024
"""Address space on top of what the worker had."""
TOKEN_BYTES = 4
_PIECE_BYTES = 4096
_MAX_ERROR_CHARS = 300


def build_tokenizer(vocabulary: Vocabulary) -> LLTokenizer:
    """Return the vocabulary as llguidance wants it."""
    return LLTokenizer(
        TokenizerWrapper(_Bytes(vocabulary)), eos_token=list(vocabulary.eos_token_ids), slices=[]
    )


def serve(tokenizer: LLTokenizer, command: Compile, report: int) -> None:
    """Compile, tell the outcome on the pipe `report`, and serve `command.num_sequences` sequences.

    The outcome is b"ok", or the sentence why not. Returns when all sequences have closed.
    """
    _limit_resources()
    matcher = compile_constraint(tokenizer, command.constraint)
    if matcher.is_error():
        os.write(report, _first_lines(matcher.get_error()).encode())
        return
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(command.address)
    listener.listen(command.num_sequences)
    signal.setitimer(signal.ITIMER_REAL, CONNECT_LIMIT_S)
    os.write(report, b"ok")
    os.close(report)
    _Sequences(listener, matcher, command.num_sequences, mask_bytes(tokenizer.vocab_size)).run()


def compile_constraint(tokenizer: LLTokenizer, constraint: Constraint) -> LLMatcher:
    """Return a matcher at the start of the output; ask its `is_error` before use."""
    return LLMatcher(tokenizer, grammar_of(constraint), log_level=0, limits=_limits())


def _limits() -> LLParserLimits:
    # Per mask a tenth of a second at worst, since a whole batch may wait for it.
    return LLParserLimits(
        step_lexer_fuel=200_000,
        step_max_items=50_000,
        max_lexer_states=50_000,
        max_grammar_size=200_000,
        verbose_errors=False,
    )


def _limit_resources() -> None:
    """Let the kernel end this process if it takes too much time or memory."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, COMPILE_LIMIT_S)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as f:
        limit = int(f.read().split()[0]) * resource.getpagesize() + MEMORY_LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _first_lines(error: str) -> str:
    # What follows is a drawing of the place in the grammar, of no use in one line.
    text = " ".join(error.split("\n   1 |")[0].split())
    return text[:_MAX_ERROR_CHARS] or "unknown"


class _Bytes:
    """A vocabulary in the shape llguidance reads; its text-to-ids side is used for hints only."""

    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.eos_token_id = vocabulary.eos_token_ids[0]
        self.special_token_ids = sorted({*vocabulary.control_token_ids, *vocabulary.eos_token_ids})
        self.tokens = list(vocabulary.token_bytes)
        for token_id in self.special_token_ids:
            # A name of its own: control tokens have no text, and must not look like padding.
            self.tokens[token_id] = f"<|control {token_id}|>".encode()
        self._by_byte = {token: index for index, token in enumerate(self.tokens) if len(token) == 1}

    def __call__(self, text: bytes) -> list[int]:
        return [self._by_byte[bytes([byte])] for byte in text if bytes([byte]) in self._by_byte]


@dataclass(slots=True)
class _Sequence:
    matcher: LLMatcher
    received: bytes = b""


class _Sequences:
    """Serves connections, one thread for all: they are few and wait for each other's batch."""

    def __init__(
        self, listener: socket.socket, matcher: LLMatcher, num_sequences: int, num_mask_bytes: int
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._matcher = matcher
        self._num_mask_bytes = num_mask_bytes
        self._num_to_come = num_sequences
        self._num_open = 0

    def run(self) -> None:
        """Serve until every sequence has come and gone."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        while self._num_to_come or self._num_open:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._take(key.fileobj, key.data)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._num_to_come -= 1
        self._num_open += 1
        sequence = _Sequence(self._matcher.deep_copy())
        self._selector.register(connection, selectors.EVENT_READ, sequence)
        if not self._num_to_come:
            self._selector.unregister(self._listener)
            self._listener.close()
        self._answer(connection, sequence)

    def _take(self, connection: socket.socket, sequence: _Sequence) -> None:
        try:
            data = connection.recv(_PIECE_BYTES)
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        sequence.received += data
        while len(sequence.received) >= TOKEN_BYTES:
            token = int.from_bytes(sequence.received[:TOKEN_BYTES], "little")
            sequence.received = sequence.received[TOKEN_BYTES:]
            sequence.matcher.consume_token(token)
        self._answer(connection, sequence)

    def _answer(self, connection: socket.socket, sequence: _Sequence) -> None:
        matcher = sequence.matcher
        # llguidance's has a bit more than there are tokens, which may take another word.
        mask = b"" if matcher.is_error() else matcher.compute_bitmask()[: self._num_mask_bytes]
        status = FAILED_STATUS if matcher.is_error() else MASK_STATUS
        with contextlib.suppress(OSError):  # the sequence has ended; its close will be read next
            connection.sendall(status + (mask if status == MASK_STATUS else b""))

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()
        self._num_open -= 1
