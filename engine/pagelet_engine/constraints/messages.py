"""What the API process and the constraint worker say to each other: framed msgpack, typed."""

import msgspec

from pagelet_engine.constraints.spec import Constraint
from pagelet_engine.errors import ProtocolError
from pagelet_engine.framing import HEADER_BYTES

MASK_STATUS, FAILED_STATUS = b"\x01", b"\x00"
"""First byte of what a matcher process sends the engine process: a mask follows, or nothing."""


class Vocabulary(msgspec.Struct, frozen=True, tag="vocabulary"):
    """The first message: what each token id stands for."""

    token_bytes: list[bytes]
    """One per id; empty for ids that stand for no text."""
    control_token_ids: list[int]
    """Never part of a constrained text."""
    eos_token_ids: list[int]
    """At least one; allowed where the output may end."""


class Compile(msgspec.Struct, frozen=True, tag="compile"):
    """Start a matcher process."""

    constraint_id: int
    constraint: Constraint
    address: str
    """Path of the socket file to listen on."""
    num_sequences: int
    """How many sequences will connect."""


class Discard(msgspec.Struct, frozen=True, tag="discard"):
    """Kill a matcher process; unknown ids are ignored."""

    constraint_id: int


Command = Vocabulary | Compile | Discard


class Compiled(msgspec.Struct, frozen=True, tag="compiled"):
    """A matcher process listens at its address, or could not be made."""

    constraint_id: int
    error: str | None = None
    """Why not; a sentence for the client."""


_COMMANDS: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_COMPILED: msgspec.msgpack.Decoder[Compiled] = msgspec.msgpack.Decoder(Compiled)


def encode(message: Command | Compiled) -> bytes:
    """Return one whole frame."""
    payload = msgspec.msgpack.encode(message)
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def decode_command(payload: bytes) -> Command:
    """Return the API process's message in `payload`.

    Raises:
        ProtocolError: The bytes are something else.
    """
    try:
        return _COMMANDS.decode(payload)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"Unreadable constraint command: {error}") from error


def decode_compiled(payload: bytes) -> Compiled:
    """Return the worker's message in `payload`.

    Raises:
        ProtocolError: The bytes are something else.
    """
    try:
        return _COMPILED.decode(payload)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"Unreadable constraint answer: {error}") from error


def mask_bytes(vocab_size: int) -> int:
    """Return the length of one mask: a bit per token, lowest bit first, in whole 32-bit words."""
    return -(-vocab_size // 32) * 4
