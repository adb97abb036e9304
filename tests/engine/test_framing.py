"""Frames between the processes: whole, typed, bounded."""

import socket
import struct
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.errors import ProtocolError
from pagelet_engine.framing import (
    HEADER_BYTES,
    decode_command,
    decode_event,
    encode,
    frame_length,
    read_frame,
    write_message,
)
from pagelet_engine.messages import (
    MAX_FRAME_BYTES,
    Abort,
    EngineStats,
    Event,
    Fatal,
    Stage,
    Stepped,
    Submit,
    TokenOutput,
)

COMMANDS = [Submit(3, [1, 2, 3], SamplingParams(max_tokens=5, stop_token_ids=(7,))), Abort(3)]
EVENTS: list[Event] = [
    Stage("loading weights"),
    Fatal("no", True),
    Stepped([TokenOutput(3, [9], FinishReason.ERROR, "why")], EngineStats(num_steps=4)),
]


def test_what_is_sent_is_what_arrives_even_byte_by_byte():
    left, right = socket.socketpair()
    with left, right:
        raw = b"".join(encode(command) for command in COMMANDS)

        def trickle() -> None:
            for position in range(len(raw)):
                left.sendall(raw[position : position + 1])
            left.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=trickle)
        sender.start()
        frames = []
        while (frame := read_frame(right)) is not None:
            frames.append(decode_command(frame))
        sender.join()
    assert frames == COMMANDS


def test_events_survive_the_way_back():
    left, right = socket.socketpair()
    with left, right:
        for event in EVENTS:
            write_message(left, event)
            frame = read_frame(right)
            assert frame is not None
            assert decode_event(frame) == event


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x09half"])
def test_a_peer_that_leaves_in_the_middle_of_a_frame_has_closed(sent: bytes):
    left, right = socket.socketpair()
    with left, right:
        left.sendall(sent)
        left.close()
        assert read_frame(right) is None


def test_a_frame_beyond_the_limit_is_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ProtocolError, match=str(MAX_FRAME_BYTES)):
        frame_length(struct.pack(">I", MAX_FRAME_BYTES + 1))
    assert frame_length(struct.pack(">I", MAX_FRAME_BYTES)) == MAX_FRAME_BYTES
    monkeypatch.setattr("pagelet_engine.framing.MAX_FRAME_BYTES", 10)
    with pytest.raises(ProtocolError, match="Stage"):
        encode(Stage("longer than ten bytes"))


@given(st.binary(max_size=60))
def test_any_other_bytes_are_a_protocol_error(payload: bytes):
    for decode in (decode_command, decode_event):
        try:
            message = decode(payload)
        except ProtocolError:
            continue
        assert msgspec.msgpack.encode(message)


def test_a_command_is_not_an_event():
    payload = encode(Abort(1))[HEADER_BYTES:]
    assert decode_command(payload) == Abort(1)
    with pytest.raises(ProtocolError):
        decode_event(payload)
