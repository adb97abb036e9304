"""A plan is sent as planned, in a closed and in an open loop."""

import asyncio
import itertools
import math
import time
from collections import Counter

from bench_server import ScriptedServer, completion, refusal
from pagelet_bench import load
from pagelet_bench.client import Endpoint, new_session
from pagelet_bench.core.dialect import Dialect
from pagelet_bench.core.lengths import Lognormal
from pagelet_bench.core.result import Outcome
from pagelet_bench.core.workload import Profile, plan
from pagelet_bench.lag import measured_lag

SHORT = Lognormal(mu=1.0, sigma=0.5, low=3, high=8)
LONG = Lognormal(mu=2.5, sigma=0.1, low=9, high=12)


def profile(**changes):
    fields = {"name": "t", "prompts": SHORT, "outputs": SHORT, "requests": 12, "concurrency": 3}
    return Profile(**(fields | changes))


async def run(server, profile):
    results = []
    async with new_session(None) as session:
        endpoint = Endpoint(
            base_url=server.url, model="m", dialect=Dialect(ignore_eos=True, min_tokens=True)
        )
        await load.run(
            session,
            endpoint,
            profile,
            plan(profile, vocab_size=1000),
            timeout_s=20,
            on_result=results.append,
        )
    return results


async def test_every_planned_request_is_sent_once_and_answered():
    async with ScriptedServer(completion).listening() as server:
        results = await run(server, profile())
    sent = sorted(tuple(body["prompt"]) for body in server.bodies)
    planned = plan(profile(), vocab_size=1000)
    assert sent == sorted(request.prompt_token_ids for request in planned)
    assert sorted(result.index for result in results) == list(range(12))
    for result in results:
        assert result.outcome is Outcome.OK
        assert result.output_tokens == planned[result.index].output_tokens


async def test_a_closed_loop_keeps_exactly_its_concurrency_in_flight():
    slow = ScriptedServer(lambda body: completion(body, first_s=0.05))
    async with slow.listening() as server:
        await run(server, profile())
    assert server.most_in_flight == 3


async def test_more_concurrency_than_requests_sends_them_all_at_once():
    slow = ScriptedServer(lambda body: completion(body, first_s=0.3))
    async with slow.listening() as server:
        await run(server, profile(concurrency=50))
    assert server.most_in_flight == 12


async def test_an_open_loop_does_not_wait_for_slow_answers():
    slow = ScriptedServer(lambda body: completion(body, first_s=1.0))
    async with slow.listening() as server:
        results = await run(server, profile(concurrency=None, rate_per_s=100.0))
    assert server.most_in_flight > 6
    began = min(result.started_s for result in results)
    for request in plan(profile(concurrency=None, rate_per_s=100.0), vocab_size=1000):
        (result,) = [result for result in results if result.index == request.index]
        assert result.started_s - began >= request.due_s - 0.05
        assert result.late_s >= 0.0


async def test_a_failed_request_takes_no_other_with_it():
    count = iter(range(100))

    def every_third(body):
        return refusal(503, "full") if next(count) % 3 == 0 else completion(body)

    async with ScriptedServer(every_third).listening() as server:
        results = await run(server, profile())
    outcomes = [result.outcome for result in results]
    assert (outcomes.count(Outcome.REFUSED), outcomes.count(Outcome.OK)) == (4, 8)


async def test_cancelling_keeps_what_has_been_reported():
    results = []
    finished = asyncio.Event()

    def first_only(body):
        return completion(body, first_s=0.0 if len(server.bodies) == 1 else 60.0)

    def on_result(result):
        results.append(result)
        finished.set()

    server = ScriptedServer(first_only)
    async with server.listening(), new_session(None) as session:
        endpoint = Endpoint(
            base_url=server.url, model="m", dialect=Dialect(ignore_eos=False, min_tokens=False)
        )
        requests = plan(profile(), vocab_size=1000)
        task = asyncio.create_task(
            load.run(session, endpoint, profile(), requests, timeout_s=90, on_result=on_result)
        )
        await finished.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [result.outcome for result in results] == [Outcome.OK]


async def test_a_turn_is_sent_after_the_answer_before_it_and_repeats_the_conversation():
    async with ScriptedServer(completion).listening() as server:
        results = await run(server, profile(turns=3, concurrency=2))
    assert sorted(result.turn for result in results) == sorted([0, 1, 2] * 4)
    planned = plan(profile(turns=3), vocab_size=1000)
    sent = [tuple(body["prompt"]) for body in server.bodies]
    for first, second in itertools.pairwise(planned):
        if second.turn == 1:
            before = len(first.prompt_token_ids)
            (whole,) = [
                ids
                for ids in sent
                if ids[:before] == first.prompt_token_ids
                and ids[-1:]
                and len(ids) == before + first.output_tokens + len(second.prompt_token_ids)
            ]
            assert whole[-len(second.prompt_token_ids) :] == second.prompt_token_ids
            assert sent.index(first.prompt_token_ids) < sent.index(whole)


async def test_turns_after_a_failed_one_are_reported_as_not_sent():
    def second_turn_fails(body):
        return refusal(500, "no") if len(body["prompt"]) > 16 else completion(body)

    async with ScriptedServer(second_turn_fails).listening() as server:
        results = await run(server, profile(turns=3, requests=6, prompts=LONG))
    outcomes = Counter((result.turn, result.outcome) for result in results)
    assert outcomes == {
        (0, Outcome.OK): 2,
        (1, Outcome.REFUSED): 2,
        (2, Outcome.NOT_SENT): 2,
    }
    assert len(server.bodies) == 4


async def test_a_generator_that_falls_behind_adds_its_delay_to_the_latencies():
    results = []
    async with ScriptedServer(completion).listening() as server, new_session(None) as session:
        endpoint = Endpoint(
            base_url=server.url, model="m", dialect=Dialect(ignore_eos=True, min_tokens=True)
        )
        even = profile(concurrency=None, rate_per_s=4.0, burstiness=math.inf, requests=8)
        requests = plan(even, vocab_size=1000)
        # However late this runs: whatever delays it delays the requests that are due, too.
        asyncio.get_running_loop().call_later(0.3, time.sleep, 0.6)
        async with measured_lag() as lag:
            await load.run(
                session, endpoint, even, requests, timeout_s=60, on_result=results.append
            )
            found = lag.read()
    late = [result for result in results if result.late_s >= 0.2]
    assert late, "requests that were due while the loop stood still left late"
    assert all(result.ttft_s >= result.late_s for result in results)
    assert found.lag_max_s >= 0.4
