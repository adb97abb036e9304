"""How messages travel between the two processes: a length, then msgpack.

A frame is a 4-byte big-endian length and that many bytes of msgpack. This module holds what both
sides share and the blocking reader and writer of the engine process; the API process puts an
asyncio reader around `frame_length` and `decode_event`. It does not know what messages mean.
"""

import socket
import struct

import msgspec

from pagelet_engine.errors import ProtocolError
from pagelet_engine.messages import MAX_FRAME_BYTES, Command, Event

HEADER_BYTES = 4
_HEADER = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()
_COMMANDS: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_EVENTS: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


def encode(message: Command | Event) -> bytes:
    """Return `message` as one whole frame, header included.

    Raises:
        ProtocolError: The frame would exceed MAX_FRAME_BYTES.
    """
    payload = _ENCODER.encode(message)
    if len(payload) > MAX_FRAME_BYTES:
        raise ProtocolError(
            f"A {type(message).__name__} message takes {len(payload)} bytes; "
            f"the limit is {MAX_FRAME_BYTES}."
        )
    return _HEADER.pack(len(payload)) + payload


def frame_length(header: bytes) -> int:
    """Return how many payload bytes follow the 4-byte `header`.

    Raises:
        ProtocolError: More than MAX_FRAME_BYTES; nothing should be allocated for it.
    """
    (length,) = _HEADER.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(f"A frame of {length} bytes was announced; max {MAX_FRAME_BYTES}.")
    return int(length)


def decode_command(payload: bytes) -> Command:
    """Return the API process's message in `payload`.

    Raises:
        ProtocolError: The bytes are not a Command.
    """
    try:
        return _COMMANDS.decode(payload)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"Unreadable command: {error}") from error


def decode_event(payload: bytes) -> Event:
    """Return the engine process's message in `payload`.

    Raises:
        ProtocolError: The bytes are not an Event.
    """
    try:
        return _EVENTS.decode(payload)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"Unreadable event: {error}") from error


def read_frame(connection: socket.socket) -> bytes | None:
    """Wait for one frame and return its payload, or None once the peer has closed.

    A peer that dies in the middle of a frame also gives None: the rest can never come.
    """
    header = _read_exactly(connection, HEADER_BYTES)
    return None if header is None else _read_exactly(connection, frame_length(header))


def write_message(connection: socket.socket, message: Command | Event) -> None:
    """Send one frame, waiting for room in the socket buffer.

    Raises:
        OSError: The peer is gone.
    """
    connection.sendall(encode(message))


def _read_exactly(connection: socket.socket, num_bytes: int) -> bytes | None:
    buffer = bytearray(num_bytes)
    view = memoryview(buffer)
    received = 0
    while received < num_bytes:
        count = connection.recv_into(view[received:])
        if count == 0:
            return None
        received += count
    return bytes(buffer)
