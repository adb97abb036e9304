"""What is measured is what the server did: held against the server's own clock.

Server and generator share one process and one monotonic clock here, so causes come before
effects on it whatever the machine does meanwhile: a token is never seen before it was written.
"""

import time

import pytest

from bench_server import DONE, Script, ScriptedServer, completion, token, usage
from pagelet_bench.core.profiles import Changes, adjusted, named
from pagelet_bench.measuring import measure
from pagelet_bench.options import BenchOptions

FIRST_S, GAP_S = 0.12, 0.01


def clocked(body, written):
    """Answer with pauses, and note the time of each token as it is written."""

    class Steps(list):
        def __iter__(self):
            times = []
            written.append(times)
            for number in range(body["max_tokens"]):
                yield GAP_S if number else FIRST_S
                times.append(time.monotonic())
                yield token(finish="length" if number == body["max_tokens"] - 1 else None)
            yield usage(len(body["prompt"]), body["max_tokens"])
            yield DONE

    return Script(Steps())


async def run(server, **changes):
    profile = adjusted(named("single"), Changes(**changes))
    options = BenchOptions(
        url=server.url, model=None, profile=profile, vocab_size=1000, timeout_s=60.0
    )
    return (await measure(options, progress=None)).measured


async def test_tokens_are_timed_when_they_arrive_never_before_they_were_written():
    written = []
    async with ScriptedServer(lambda body: clocked(body, written)).listening() as server:
        found = await run(server, requests=3)
    answers = sorted(found.results, key=lambda result: result.index)
    for result, times in zip(answers, written[1:], strict=True):
        assert len(result.token_times_s) == len(times)
        delays = [seen - sent for seen, sent in zip(result.token_times_s, times, strict=True)]
        assert min(delays) >= 0
        assert sorted(delays)[len(delays) // 2] < 0.5, "tokens do not wait to be read"
        assert result.ttft_s >= FIRST_S
        assert result.e2e_s >= FIRST_S + GAP_S * (len(times) - 1)
    assert found.report.itl.mean_s >= GAP_S * 0.99


@pytest.mark.parametrize("first_s", [0.05, 0.4])
async def test_an_injected_wait_is_the_measured_wait(first_s):
    answering = ScriptedServer(lambda body: completion(body, first_s=first_s))
    async with answering.listening() as server:
        found = await run(server, requests=5)
    assert first_s <= found.report.ttft.p50_s < first_s + 1.0


async def test_the_generators_own_lag_is_part_of_the_result():
    async with ScriptedServer(completion).listening() as server:
        found = await run(server, requests=2, rate_per_s=20.0)
    lag = found.generator
    assert 0 <= lag.lag_p50_s <= lag.lag_p99_s <= lag.lag_max_s
    assert lag.cpu_share > 0
