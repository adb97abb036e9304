"""The engine process: a loop around `Engine.step`, fed by a socket.

    python -m pagelet_engine.process --fd N --config JSON

`N` is one end of a UNIX stream socket pair, inherited from the API process; JSON is an
`EngineConfig`. Over the socket come `Command`s and go `Event`s (see `messages`, `framing`): some
`Stage`s, then `Ready`, then a `Stepped` after every step and at least every HEARTBEAT_S seconds
while idle. A `Fatal` comes before an exit with EXIT_CONFIG (the configuration is to blame) or
EXIT_BUG. When the peer closes, the process ends at once, whatever it is doing.

SIGINT and SIGTERM are ignored: a terminal sends the first to the whole group, a service manager may
send the second to every process it finds, and the API process, which drains, decides.
"""

import argparse
import gc
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from typing import TYPE_CHECKING, NoReturn

import msgspec

from pagelet_engine.config import EngineConfig
from pagelet_engine.errors import ConfigError, ProtocolError
from pagelet_engine.framing import decode_command, read_frame, write_message
from pagelet_engine.messages import (
    Abort,
    Command,
    Fatal,
    Hold,
    Stage,
    Stepped,
    Submit,
    TokenOutput,
)

if TYPE_CHECKING:
    from pagelet_engine.engine import Engine

HEARTBEAT_S = 0.5
"""Longest silence while idle, seconds; the API process reads silence as a hang."""
EXIT_PEER_CLOSED = 0
EXIT_BUG = 1
EXIT_CONFIG = 2

Inbox = queue.SimpleQueue[Command]


def main(arguments: list[str] | None = None) -> int:
    """Serve until the peer closes; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    options = _parser().parse_args(arguments)
    connection = socket.socket(fileno=options.fd)
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, inbox), name="reader", daemon=True).start()
    try:
        engine = _build(_parse_config(options.config), connection)
        write_message(connection, engine.ready)
        # PERF: what start-up made lives for ever; the collector need not walk it again.
        gc.freeze()
        _serve(engine, inbox, connection)
    except (BrokenPipeError, ConnectionResetError):
        return EXIT_PEER_CLOSED
    except ConfigError as error:
        return _die(connection, str(error), config=True)
    except Exception as error:  # noqa: BLE001 - the outer loop: say it, count it out, end
        traceback.print_exc()
        return _die(connection, f"{type(error).__name__}: {error}", config=False)


def _parse_config(text: str) -> EngineConfig:
    try:
        return msgspec.json.decode(text, type=EngineConfig)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"--config is not an EngineConfig as JSON: {error}.") from error


def _build(config: EngineConfig, connection: socket.socket) -> "Engine":
    # Imported here, after the reader thread: importing torch takes a second, in which the peer
    # may already leave.
    write_message(connection, Stage("importing torch"))
    from pagelet_engine.assembly import build_engine

    return build_engine(config, lambda name: write_message(connection, Stage(name)))


def _serve(engine: "Engine", inbox: Inbox, connection: socket.socket) -> NoReturn:
    """Step for ever; ends by an exception only."""
    while True:
        outputs = _obey(engine, _drain(inbox, wait=not engine.has_work))
        if engine.has_work:
            outputs += engine.step()
        write_message(connection, Stepped(outputs, engine.stats()))


def _drain(inbox: Inbox, *, wait: bool) -> list[Command]:
    """Return all commands that have arrived; if `wait`, wait for one up to HEARTBEAT_S."""
    commands: list[Command] = []
    try:
        if wait:
            commands.append(inbox.get(timeout=HEARTBEAT_S))
        while True:
            commands.append(inbox.get_nowait())
    except queue.Empty:
        return commands


def _obey(engine: "Engine", commands: list[Command]) -> list[TokenOutput]:
    """Carry out commands; return the last outputs of sequences that were refused."""
    refused: list[TokenOutput] = []
    for command in commands:
        match command:
            case Submit():
                output = engine.add(command)
                if output is not None:
                    refused.append(output)
            case Abort():
                engine.abort(command.seq_id)
            case Hold():
                engine.hold(command.seq_id, is_held=command.is_held)
    return refused


def _read(connection: socket.socket, inbox: Inbox) -> None:
    """Fill the inbox; runs in its own thread, and ends the process when the peer is gone."""
    try:
        while (frame := read_frame(connection)) is not None:
            inbox.put(decode_command(frame))
    except ProtocolError as error:
        _die(connection, str(error), config=False)
        os._exit(EXIT_BUG)
    except OSError:
        pass
    # At once, though the main thread may be deep in a step: nobody is left to read its result,
    # and an orphan would hold the model's memory.
    os._exit(EXIT_PEER_CLOSED)


def _die(connection: socket.socket, message: str, *, config: bool) -> int:
    try:
        write_message(connection, Fatal(message, config))
    except OSError:
        print(message, file=sys.stderr)
    return EXIT_CONFIG if config else EXIT_BUG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pagelet_engine.process", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="inherited socket")
    parser.add_argument("--config", required=True, help="EngineConfig as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
