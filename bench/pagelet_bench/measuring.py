"""Runs a load against an endpoint, or many of them in search of a rate."""

import asyncio
import dataclasses
import signal
import sys
from dataclasses import dataclass
from typing import TextIO

import aiohttp

from pagelet_bench import load
from pagelet_bench.client import Endpoint, new_session
from pagelet_bench.core.goodput import goodput, misses
from pagelet_bench.core.measured import Measured, Ramp, holds
from pagelet_bench.core.ramp import Found, Next, Search, Trial, advance
from pagelet_bench.core.report import report
from pagelet_bench.core.result import RequestResult
from pagelet_bench.core.workload import Profile, plan
from pagelet_bench.lag import measured_lag
from pagelet_bench.options import BenchOptions
from pagelet_bench.probe import probe
from pagelet_bench.progress import RunProgress

LEAST_OF_A_TRIAL = 20
"""Conversations of a trial at a rate so low that fewer would arrive."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured, of which endpoint.

    Attributes:
        measured: The run; of a search, its best trial.
        ramp: The search, if it was one.
    """

    endpoint: Endpoint
    measured: Measured
    ramp: Ramp | None = None


async def measure(options: BenchOptions, progress: TextIO | None = sys.stderr) -> Run:
    """Probe the endpoint and run the load; an interrupt ends it with what has finished.

    Raises:
        UsageError: The plan or the model's name is wrong.
        UnreachableError: The endpoint does not answer as needed.
    """
    plan(dataclasses.replace(options.profile, requests=1), vocab_size=options.vocab_size)
    with RunProgress(progress) as show:
        async with new_session(options.api_key) as session:
            endpoint = await probe(
                session, options.url, options.model, timeout_s=options.timeout_s, chat=options.chat
            )
            runner = _Runner(session, endpoint, options, show)
            if options.search is None:
                return Run(endpoint, await runner.run(options.profile, "requests"))
            ramp = await runner.search(options.search)
            return Run(endpoint, ramp.best, ramp)


@dataclass(frozen=True, slots=True)
class _Runner:
    session: aiohttp.ClientSession
    endpoint: Endpoint
    options: BenchOptions
    show: RunProgress

    async def search(self, search: Search) -> Ramp:
        """Run trials until the search ends or somebody ends it."""
        trials: list[Measured] = []
        while isinstance(step := advance(search, _told(trials)), Next):
            profile = self._trial(step.rate_per_s, len(trials))
            name = f"{step.rate_per_s:.3g}/s, try {step.attempt + 1}"
            trials.append(await self.run(profile, name, may_end_early=True))
            if trials[-1].was_interrupted:
                return Ramp(None, tuple(trials))
        found: Found = step
        return Ramp(found, tuple(trials))

    def _trial(self, rate_per_s: float, number: int) -> Profile:
        """Return the load of one trial; each has arrivals and lengths of its own."""
        profile = self.options.profile
        conversations = max(LEAST_OF_A_TRIAL, round(rate_per_s * self.options.trial_s))
        return dataclasses.replace(
            profile,
            requests=conversations * profile.turns,
            concurrency=None,
            rate_per_s=rate_per_s,
            seed=profile.seed + number,
        )

    async def run(self, profile: Profile, name: str, *, may_end_early: bool = False) -> Measured:
        """Run one load.

        Args:
            profile: What to send.
            name: What the progress bar calls it.
            may_end_early: Whether it ends as soon as it is clear that the SLO is missed, so that
                an overloaded server is left in peace.
        """
        slo = self.options.slo
        requests = plan(profile, vocab_size=self.options.vocab_size)
        results: list[RequestResult] = []
        bad = 0
        self.show.begin(name, len(requests))

        def on_result(result: RequestResult) -> None:
            nonlocal bad
            results.append(result)
            self.show.update(result)
            if slo is not None and may_end_early and misses(slo, result):
                bad += 1
                if len(requests) - bad < slo.share * len(requests):
                    task.cancel()

        async with measured_lag() as lag:
            task = asyncio.create_task(
                load.run(
                    self.session,
                    self.endpoint,
                    profile,
                    requests,
                    timeout_s=self.options.timeout_s,
                    on_result=on_result,
                )
            )
            was_interrupted = await _until_interrupt(task)
            generator = lag.read()
        found = report(results, planned=len(requests))
        good = None
        if slo is not None:
            good = goodput(slo, results, planned=len(requests), duration_s=found.duration_s)
        return Measured(
            profile=profile,
            report=found,
            results=results,
            generator=generator,
            goodput=good,
            was_interrupted=was_interrupted,
        )


def _told(trials: list[Measured]) -> list[Trial]:
    return [Trial(trial.profile.rate_per_s or 0.0, holds(trial)) for trial in trials]


async def _until_interrupt(task: asyncio.Task[None]) -> bool:
    """Wait for `task`; on SIGINT or SIGTERM cancel it and return True."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
    finally:
        task.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return interrupted.is_set()
