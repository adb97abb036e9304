"""The queue: nothing asked for is lost, nothing is out twice, nothing comes before its time."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pagelet_operator.kube.queue import WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def taken(queue: WorkQueue[str]) -> str | None:
    """Take a key if one is due now; waiting would take until time or a change comes."""
    task = asyncio.ensure_future(queue.take())
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock)


async def test_a_key_asked_for_many_times_comes_once(queue: WorkQueue[str]) -> None:
    for _ in range(5):
        queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


async def test_a_key_asked_for_while_it_is_out_comes_back_after_it(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    assert await taken(queue) is None
    queue.done("a")
    assert await taken(queue) == "a"


async def test_a_key_comes_at_its_time_and_the_earliest_wish_wins(
    queue: WorkQueue[str], clock: Clock
) -> None:
    queue.add("a", 10)
    queue.add("a", 5)
    queue.add("a", 20)
    clock.now = 4.9
    assert await taken(queue) is None
    clock.now = 5.0
    assert await taken(queue) == "a"
    queue.done("a")
    clock.now = 100
    assert await taken(queue) is None, "the later wishes were part of the same look"


async def test_one_that_waits_is_woken_by_what_comes_later(queue: WorkQueue[str]) -> None:
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiting, 5) == "a"


async def test_every_worker_that_waits_gets_a_key_of_its_own(queue: WorkQueue[str]) -> None:
    workers = [asyncio.ensure_future(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.wait_for(asyncio.gather(*workers), 5)) == ["a", "b", "c"]


async def test_real_time_passes_without_anybody_asking() -> None:
    import time

    queue: WorkQueue[str] = WorkQueue(time.monotonic)
    queue.add("a", 0.05)
    assert await asyncio.wait_for(queue.take(), 5) == "a"


def test_the_wait_is_counted_from_when_a_key_was_due(queue: WorkQueue[str], clock: Clock) -> None:
    assert queue.oldest_wait_s() == 0
    queue.add("a", 10)
    queue.add("b", 3)
    clock.now = 8
    assert (queue.oldest_wait_s(), len(queue)) == (5, 2)


class QueueMachine(RuleBasedStateMachine):
    """Against a model that is obviously right: due times in a dictionary, a set of keys out."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(self.clock)
        self.due: dict[str, float] = {}
        self.out: set[str] = set()

    @rule(key=st.sampled_from("abc"), delay=st.sampled_from([0.0, 1.0, 5.0]))
    def add(self, key: str, delay: float) -> None:
        self.queue.add(key, delay)
        self.due[key] = min(self.due.get(key, float("inf")), self.clock.now + delay)

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def take(self) -> None:
        ready = {k: t for k, t in self.due.items() if t <= self.clock.now and k not in self.out}
        key, wait_s = self.queue._next()
        if not ready:
            assert key is None
            later = [t for k, t in self.due.items() if k not in self.out]
            assert wait_s == (min(later) - self.clock.now if later else None)
            return
        assert key in ready
        assert ready[key] == min(ready.values())
        del self.due[key]
        self.out.add(key)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.out)))
        self.out.discard(key)
        self.queue.done(key)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.queue) == len(self.due)


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestQueueMachine = QueueMachine.TestCase
