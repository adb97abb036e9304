"""The client against a real process on a real socket pair, faults included."""

import asyncio
import os
import signal
import sys

import pytest

from pagelet_engine.config import EngineConfig
from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine_client import EngineClient, engine_command
from pagelet_engine.errors import ConfigError, EngineDeadError, GenerationError
from pagelet_engine.testing_process import HEARTBEAT_S, Fault
from server_process import echo_command

PATIENCE_S = 30


@pytest.fixture
async def start():
    """Start clients; all of them are stopped at the end."""
    clients = []

    async def started(*arguments, command=None, **callbacks):
        client = EngineClient(command or echo_command(*arguments), **callbacks)
        clients.append(client)
        await client.start()
        return client

    async with asyncio.timeout(PATIENCE_S):
        yield started
        for client in clients:
            await client.stop()


async def tokens(generation):
    outputs = [output async for output in generation]
    return [token for output in outputs for token in output.token_ids], outputs[-1].finish_reason


async def test_a_sequence_arrives_whole_and_in_order(start):
    client = await start()
    ready = await client.wait_ready()
    assert ready.max_model_len == 1024
    seen = await tokens(client.submit([1, 2, 3], SamplingParams(max_tokens=7)))
    assert seen == ([1, 2, 3, 1, 2, 3, 1], FinishReason.LENGTH)
    assert client.num_open == 0


async def test_sequences_do_not_mix(start):
    client = await start("--max-num-seqs", "3")
    await client.wait_ready()
    lengths = range(1, 40)
    generations = [client.submit([n], SamplingParams(max_tokens=n)) for n in lengths]
    seen = await asyncio.gather(*map(tokens, generations))
    assert [token_ids for token_ids, _ in seen] == [[n] * n for n in lengths]


async def test_a_slow_reader_is_held_back_and_gets_everything(start):
    client = await start()
    await client.wait_ready()
    slow = client.submit([5], SamplingParams(max_tokens=500), max_unread_bytes=64 * 100)
    await tokens(client.submit([6], SamplingParams(max_tokens=501)))
    assert client.stats.num_running == 1
    outputs = [output async for output in slow]
    assert 100 < len(outputs[0].token_ids) < 300
    assert [token for output in outputs for token in output.token_ids] == [5] * 500


async def test_start_up_is_told_in_stages(start):
    stages = []
    client = await start(on_stage=stages.append)
    await client.wait_ready()
    assert stages == ["loading weights"]
    assert client.stage == "ready"


async def test_an_idle_engine_is_heard_of_by_its_heartbeat(start):
    beats = asyncio.Queue()
    client = await start(on_step=beats.put_nowait)
    await client.wait_ready()
    assert (await beats.get()).outputs == []
    assert client.silence_s() < 10 * HEARTBEAT_S


async def test_an_aborted_sequence_frees_its_place(start):
    client = await start("--max-num-seqs", "1", "--step-seconds", "0.01")
    await client.wait_ready()
    first = client.submit([1], SamplingParams(max_tokens=1_000_000))
    await anext(first)
    second = client.submit([2], SamplingParams(max_tokens=1))
    first.abort()
    assert await tokens(second) == ([2], FinishReason.LENGTH)
    first.abort()  # again: nothing happens
    assert client.num_open == 0


async def test_one_failing_sequence_leaves_the_others_alone(start):
    client = await start()
    await client.wait_ready()
    good = client.submit([1], SamplingParams(max_tokens=100))
    bad = client.submit([2], SamplingParams(max_tokens=100, seed=int(Fault.NAN)))
    with pytest.raises(GenerationError, match="not a number"):
        await tokens(bad)
    assert await tokens(good) == ([1] * 100, FinishReason.LENGTH)


async def test_tokens_that_arrived_are_read_before_the_error(start):
    client = await start()
    await client.wait_ready()
    bad = client.submit([7], SamplingParams(max_tokens=100, seed=int(Fault.NAN)))
    # The fault comes after two tokens; this longer one ends later, and nobody has read yet.
    await tokens(client.submit([1], SamplingParams(max_tokens=100)))
    assert (await anext(bad)).token_ids == [7, 7]
    with pytest.raises(GenerationError):
        await anext(bad)


@pytest.mark.parametrize("fault", [Fault.DIE, Fault.GARBAGE])
async def test_the_end_of_the_process_reaches_every_open_sequence(start, fault):
    client = await start("--step-seconds", "0.01")
    await client.wait_ready()
    open_ones = [client.submit([n], SamplingParams(max_tokens=10_000)) for n in range(5)]
    fatal = client.submit([9], SamplingParams(max_tokens=10_000, seed=int(fault)))
    for generation in [*open_ones, fatal]:
        with pytest.raises(EngineDeadError):
            await tokens(generation)
    assert client.is_dead
    with pytest.raises(EngineDeadError):
        client.submit([1], SamplingParams(max_tokens=1))
    reason = str(await client.wait_dead())
    assert ("SIGKILL" in reason) if fault is Fault.DIE else ("Unreadable" in reason)


async def test_a_hung_engine_is_known_by_its_silence(start):
    client = await start()
    await client.wait_ready()
    hung = client.submit([1], SamplingParams(max_tokens=9, seed=int(Fault.HANG)))
    num_tokens = 0
    while num_tokens < 2:
        num_tokens += len((await anext(hung)).token_ids)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(hung), 2.5 * HEARTBEAT_S)
    assert client.silence_s() > 2 * HEARTBEAT_S
    # It would never end by itself; the fixture's `stop` has to kill it.
    assert not client.is_dead


@pytest.mark.parametrize(
    ("flags", "kind"), [([], EngineDeadError), (["--fatal-is-config"], ConfigError)]
)
async def test_a_refusal_to_start_carries_its_sentence(start, flags, kind):
    client = await start("--fatal", "max_model_len is too large", *flags)
    with pytest.raises(kind, match="max_model_len is too large"):
        await client.wait_ready()


async def test_a_process_that_dies_without_a_word_is_told_by_its_exit_code(start):
    client = await start(command=[sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(EngineDeadError, match="code 7"):
        await client.wait_ready()


async def test_a_program_that_does_not_exist_is_a_configuration_error():
    client = EngineClient(["/nonexistent/python"])
    with pytest.raises(ConfigError, match="/nonexistent/python"):
        await client.start()


async def test_failing_all_ends_them_with_the_given_error_and_frees_the_engine(start):
    client = await start("--max-num-seqs", "1")
    await client.wait_ready()
    doomed = client.submit([1], SamplingParams(max_tokens=1_000_000))
    client.fail_all(EngineDeadError("the server exits"))
    with pytest.raises(EngineDeadError, match="the server exits"):
        await tokens(doomed)
    assert await tokens(client.submit([2], SamplingParams(max_tokens=1))) == (
        [2],
        FinishReason.LENGTH,
    )


async def test_nothing_is_left_of_a_stopped_engine(start):
    client = await start()
    await client.wait_ready()
    pid = client.pid
    await client.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_signals_to_the_api_process_group_do_not_reach_the_engine(start):
    client = await start()
    await client.wait_ready()
    assert os.getpgid(client.pid) != os.getpgid(0)
    os.kill(client.pid, signal.SIGINT)  # ignored, should it come
    assert await tokens(client.submit([1], SamplingParams(max_tokens=1))) == (
        [1],
        FinishReason.LENGTH,
    )


def test_the_real_engine_process_gets_its_configuration_as_json():
    command = engine_command(EngineConfig(model="dummy://tiny", max_num_seqs=3))
    assert command[:3] == [sys.executable, "-m", "pagelet_engine.process"]
    assert '"max_num_seqs":3' in command[-1]
