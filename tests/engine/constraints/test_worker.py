"""A compilation that takes too much ends alone, by the kernel's hand."""

import sys
import time

import pytest

from pagelet_engine.constraints import spec
from pagelet_engine.constraints.client import ConstraintClient
from pagelet_engine.constraints.messages import Vocabulary
from pagelet_engine.errors import InvalidRequestError

VOCABULARY = Vocabulary([bytes([byte]) for byte in range(256)] + [b""], [256], [256])
GREEDY_WORKER = """
import sys
from pagelet_engine.constraints import matcher, worker
honest = matcher.compile_constraint
matcher.COMPILE_LIMIT_S = 0.5

def compile_constraint(tokenizer, constraint):
    while constraint.source == "endless":
        pass
    if constraint.source == "huge":
        bytearray(2 * matcher.MEMORY_LIMIT_BYTES)
    return honest(tokenizer, constraint)

matcher.compile_constraint = compile_constraint
sys.exit(worker.main())
"""


@pytest.fixture
async def client():
    client = ConstraintClient(lambda: VOCABULARY, [sys.executable, "-c", GREEDY_WORKER])
    yield client
    await client.stop()


@pytest.mark.parametrize(("source", "says"), [("endless", "longer than"), ("huge", "memory")])
async def test_a_compilation_without_end_or_measure_is_killed_and_others_go_on(
    client, source, says
):
    started = time.monotonic()
    with pytest.raises(InvalidRequestError, match=says) as caught:
        await client.compile(spec.regex(source, param="x"), num_sequences=1, param="x")
    assert caught.value.param == "x"
    assert time.monotonic() - started < 20
    pid = client.worker_pid
    compiled = await client.compile(spec.regex("a", param="x"), num_sequences=1, param="x")
    compiled.close()
    assert client.worker_pid == pid, "the worker itself must live on"


async def test_stopping_takes_every_process_along(client):
    compiled = await client.compile(spec.regex("a", param="x"), num_sequences=1, param="x")
    assert compiled.address
    await client.stop()
    assert client.worker_pid is None
    again = await client.compile(spec.regex("b", param="x"), num_sequences=1, param="x")
    assert again.address != compiled.address
