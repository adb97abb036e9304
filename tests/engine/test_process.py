"""The engine process as the API process sees it: over its socket, by its exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.framing import decode_event, read_frame, write_message
from pagelet_engine.messages import Abort, Event, Fatal, Ready, Stage, Stepped, Submit, TokenOutput

TIMEOUT_S = 60
ENDLESS = SamplingParams(max_tokens=500, temperature=0.0, ignore_eos=True)


@dataclass
class Peer:
    connection: socket.socket
    process: subprocess.Popen[bytes]

    def event(self) -> Event:
        frame = read_frame(self.connection)
        assert frame is not None, "the engine process closed its socket"
        return decode_event(frame)

    def start_up(self) -> Ready:
        stages = []
        while isinstance(event := self.event(), Stage):
            stages.append(event.name)
        assert stages[0] == "importing torch"
        assert isinstance(event, Ready), event
        return event

    def outputs(self) -> list[TokenOutput]:
        event = self.event()
        assert isinstance(event, Stepped), event
        return event.outputs

    def last_output_of(self, seq_id: int) -> TokenOutput:
        while True:
            for output in self.outputs():
                if output.seq_id == seq_id and output.finish_reason is not None:
                    return output


@contextmanager
def engine_process(config: str) -> Iterator[Peer]:
    ours, theirs = socket.socketpair()
    ours.settimeout(TIMEOUT_S)
    command = [sys.executable, "-m", "pagelet_engine.process", "--fd", str(theirs.fileno())]
    process = subprocess.Popen([*command, "--config", config], pass_fds=[theirs.fileno()])
    theirs.close()
    try:
        yield Peer(ours, process)
    finally:
        ours.close()
        process.kill()
        process.wait()


def _config(**settings: object) -> str:
    return json.dumps({"model": "dummy://tiny", "num_threads": 1, **settings})


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with engine_process(_config(max_num_seqs=4)) as running:
        running.start_up()
        yield running


def test_a_sequence_runs_to_its_end(peer: Peer):
    write_message(peer.connection, Submit(1, [3, 4], SamplingParams(max_tokens=5, ignore_eos=True)))
    tokens: list[int] = []
    while True:
        for output in peer.outputs():
            tokens += output.token_ids
            if output.finish_reason is not None:
                assert output.finish_reason is FinishReason.LENGTH
                assert len(tokens) == 5
                return


def test_a_refused_sequence_is_an_output_and_disturbs_nobody(peer: Peer):
    write_message(peer.connection, Submit(10, [3], SamplingParams(max_tokens=40, ignore_eos=True)))
    write_message(peer.connection, Submit(11, [10**6], ENDLESS))
    refused = peer.last_output_of(11)
    assert refused.finish_reason is FinishReason.ERROR
    assert "outside" in str(refused.error)
    assert peer.last_output_of(10).finish_reason is FinishReason.LENGTH


def test_an_aborted_sequence_falls_silent_and_frees_its_blocks(peer: Peer):
    write_message(peer.connection, Submit(20, [3], ENDLESS))
    while not peer.outputs():
        pass
    write_message(peer.connection, Abort(20))
    write_message(peer.connection, Abort(12345))
    while True:
        event = peer.event()
        assert isinstance(event, Stepped)
        if not event.outputs and event.stats.num_running == 0:
            assert event.stats.num_blocks_used == 0
            return


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_engine_keeps_sending_heartbeats_whatever_a_group_is_sent(
    peer: Peer, number: signal.Signals
):
    peer.process.send_signal(number)
    assert [peer.outputs() for _ in range(3)] == [[], [], []]
    assert peer.process.poll() is None


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (_config(model="dummy://nope"), "nope"),
        (_config(model="/no/such/model.gguf"), "/no/such/model.gguf"),
        (_config(max_model_len=100_000), "max_model_len"),
        (_config(dtype="int3"), "dtype"),
        ("{", "JSON"),
    ],
)
def test_a_configuration_at_fault_is_said_and_exits_with_2(config: str, says: str):
    with engine_process(config) as peer:
        while isinstance(event := peer.event(), Stage):
            pass
        assert isinstance(event, Fatal)
        assert event.config
        assert says in event.message
        assert peer.process.wait(TIMEOUT_S) == 2


def test_an_unreadable_command_is_fatal():
    with engine_process(_config()) as peer:
        peer.start_up()
        peer.connection.sendall(b"\0\0\0\x01\xc1")
        while isinstance(event := peer.event(), Stepped):
            pass
        assert isinstance(event, Fatal)
        assert not event.config
        assert peer.process.wait(TIMEOUT_S) == 1


@pytest.mark.parametrize("moment", ["starting", "idle", "busy"])
def test_the_process_ends_when_its_peer_does(moment: str):
    with engine_process(_config()) as peer:
        assert isinstance(peer.event(), Stage)
        if moment != "starting":
            while not isinstance(peer.event(), Ready):
                pass
        if moment == "busy":
            write_message(peer.connection, Submit(1, [3], ENDLESS))
            while not peer.outputs():
                pass
        peer.connection.close()
        assert peer.process.wait(TIMEOUT_S) == 0


def test_a_killed_process_closes_the_socket():
    with engine_process(_config()) as peer:
        peer.start_up()
        os.kill(peer.process.pid, signal.SIGKILL)
        while read_frame(peer.connection) is not None:
            pass
