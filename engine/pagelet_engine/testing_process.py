"""A stand-in for the engine process: the same protocol over the same socket, without a model.

For tests of whatever talks to an engine, and for trying out a client. Each sequence gets its
prompt back, token by token, over and over, until `max_tokens`. The seed of a sequence selects a
fault (`Fault`), so a client can cause one over HTTP. Run as
`python -m pagelet_engine.testing_process --fd N`.
"""

import argparse
import enum
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.logprobs import TokenLogprobs
from pagelet_engine.framing import decode_command, read_frame, write_message
from pagelet_engine.messages import (
    Abort,
    EngineStats,
    Fatal,
    Hold,
    Ready,
    Stage,
    Stepped,
    Submit,
    TokenOutput,
)

HEARTBEAT_S = 0.5


class Fault(enum.IntEnum):
    """Seeds that make something go wrong, each after the sequence's first two tokens."""

    DIE = 666_001
    """The process kills itself."""
    HANG = 666_002
    """The process stops answering."""
    NAN = 666_003
    """This sequence ends with FinishReason.ERROR."""
    DIE_AT_ONCE = 666_004
    """Like DIE, before the first token."""
    NAN_AT_ONCE = 666_005
    """Like NAN, before the first token."""
    GARBAGE = 666_006
    """The process sends bytes that are no message."""


_FAULTS = frozenset(Fault)


@dataclass(slots=True)
class _Echo:
    submit: Submit
    num_output: int = 0

    def next_token(self) -> int:
        prompt = self.submit.prompt_token_ids
        return prompt[self.num_output % len(prompt)]


@dataclass(slots=True)
class EchoEngine:
    """Answers on `connection` until it closes."""

    connection: socket.socket
    step_s: float
    """Pause after each step, seconds."""
    max_num_seqs: int = 64
    _waiting: dict[int, _Echo] = field(default_factory=dict)
    _running: dict[int, _Echo] = field(default_factory=dict)
    _held: dict[int, _Echo] = field(default_factory=dict)
    _num_steps: int = 0
    _num_prompt_tokens: int = 0
    _num_output_tokens: int = 0

    def run(self) -> None:
        """Take commands and step, with a heartbeat while idle."""
        while self._take_commands():
            outputs = self._step()
            write_message(self.connection, Stepped(outputs, self._stats()))
            if outputs:
                time.sleep(self.step_s)

    def _take_commands(self) -> bool:
        patience_s = 0.0 if self._waiting or self._running else HEARTBEAT_S
        while select.select([self.connection], [], [], patience_s)[0]:
            payload = read_frame(self.connection)
            if payload is None:
                return False
            match decode_command(payload):
                case Submit() as submit:
                    self._waiting[submit.seq_id] = _Echo(submit)
                case Abort(seq_id):
                    self._waiting.pop(seq_id, None)
                    self._running.pop(seq_id, None)
                    self._held.pop(seq_id, None)
                case Hold(seq_id, is_held):
                    self._hold(seq_id, is_held=is_held)
            patience_s = 0.0
        return True

    def _hold(self, seq_id: int, *, is_held: bool) -> None:
        source, target = (self._running, self._held) if is_held else (self._held, self._running)
        echo = source.pop(seq_id, None)
        if echo is not None:
            target[seq_id] = echo

    def _step(self) -> list[TokenOutput]:
        while self._waiting and len(self._running) < self.max_num_seqs:
            seq_id = next(iter(self._waiting))
            echo = self._running[seq_id] = self._waiting.pop(seq_id)
            self._num_prompt_tokens += len(echo.submit.prompt_token_ids)
        outputs = [self._advance(echo) for echo in list(self._running.values())]
        self._num_steps += bool(outputs)
        return outputs

    def _advance(self, echo: _Echo) -> TokenOutput:
        seq_id, sampling = echo.submit.seq_id, echo.submit.sampling
        if sampling.seed in _FAULTS:
            broken = self._break(Fault(sampling.seed), echo)
            if broken is not None:
                return broken
        token_id = echo.next_token()
        echo.num_output += 1
        self._num_output_tokens += 1
        finish = None
        if token_id in sampling.stop_token_ids:
            finish = FinishReason.STOP
        elif echo.num_output >= sampling.max_tokens:
            finish = FinishReason.LENGTH
        if finish is not None:
            del self._running[seq_id]
        is_first = echo.num_output == 1 and sampling.prompt_logprobs is not None
        return TokenOutput(
            seq_id,
            [token_id],
            finish,
            logprobs=[] if sampling.logprobs is None else [_certain(token_id)],
            prompt_logprobs=[
                _certain(token) for token in echo.submit.prompt_token_ids[1:] if is_first
            ],
        )

    def _break(self, fault: Fault, echo: _Echo) -> TokenOutput | None:
        at_once = fault in (Fault.DIE_AT_ONCE, Fault.NAN_AT_ONCE)
        if not at_once and echo.num_output < 2:
            return None
        match fault:
            case Fault.DIE | Fault.DIE_AT_ONCE:
                os.kill(os.getpid(), signal.SIGKILL)
            case Fault.HANG:
                signal.pause()
            case Fault.GARBAGE:
                self.connection.sendall(b"\x00\x00\x00\x03abc")
        del self._running[echo.submit.seq_id]
        return TokenOutput(
            echo.submit.seq_id, [], FinishReason.ERROR, "The model's output was not a number."
        )

    def _stats(self) -> EngineStats:
        return EngineStats(
            num_waiting=len(self._waiting),
            num_running=len(self._running) + len(self._held),
            num_blocks_used=len(self._running) + len(self._held),
            num_blocks_total=1024,
            kv_slots_used=8 * len(self._running),
            num_steps=self._num_steps,
            num_prompt_tokens=self._num_prompt_tokens,
            num_output_tokens=self._num_output_tokens,
            last_step_seconds=self.step_s,
            last_step_tokens=len(self._running),
        )


def _certain(token_id: int) -> TokenLogprobs:
    return TokenLogprobs(token_id, 0.0, 1, ((token_id, 0.0),))


def main() -> None:
    """Start as asked, then answer until the socket closes."""
    parser = argparse.ArgumentParser(description="An engine process without a model.")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket")
    parser.add_argument("--step-seconds", type=float, default=0.0, help="pause after each step")
    parser.add_argument("--load-seconds", type=float, default=0.0, help="pause before Ready")
    parser.add_argument("--load-from", type=Path, help="read this file, say a FIFO, before Ready")
    parser.add_argument("--max-model-len", type=int, default=1024)
    parser.add_argument("--max-num-seqs", type=int, default=64)
    parser.add_argument("--vocab-size", type=int, default=1_000)
    parser.add_argument("--fatal", help="refuse to start with this sentence")
    parser.add_argument("--fatal-is-config", action="store_true", help="... and blame the user")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    connection = socket.socket(fileno=arguments.fd)
    write_message(connection, Stage("loading weights"))
    time.sleep(arguments.load_seconds)
    if arguments.load_from:
        arguments.load_from.read_bytes()
    if arguments.fatal:
        write_message(connection, Fatal(arguments.fatal, arguments.fatal_is_config))
        raise SystemExit(1)
    write_message(connection, _ready(arguments))
    EchoEngine(connection, arguments.step_seconds, arguments.max_num_seqs).run()


def _ready(arguments: argparse.Namespace) -> Ready:
    return Ready(
        vocab_size=arguments.vocab_size,
        max_model_len=arguments.max_model_len,
        num_blocks=1024,
        block_size=16,
        dtype="float32",
        device="cpu",
        kv_cache_bytes=0,
        weights_bytes=0,
        load_seconds=arguments.load_seconds,
    )


if __name__ == "__main__":
    main()
