"""A good and a bad new revision under constant load, in about two minutes: `make demo`.

Serves a small random model with `pagelet up`, real engines and all, sends it mixed requests, then
edits its file twice. The good revision is promoted; the bad one, whose engine answers late, is
withdrawn by what its users feel. Ends with 0 if both went that way and no request failed.
"""

import asyncio
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

RATE = 12.0
"""Requests per second: busy enough to judge within seconds, light enough for two cores."""

DELAY_MS = 1000
"""How long the bad revision holds back each piece of an answer: bad on a slow machine, too."""

PATIENCE_S = 120.0
"""Longest wait for any one thing to happen."""

_ENDS = ("Promoted", "AnalysisFailed", "ReplicaFailed", "ProgressDeadlineExceeded", "Paused")

_ROLLOUT = {
    "steps": [{"weight": 5, "hold": "6s"}, {"weight": 50, "hold": "6s"}],
    "retainStable": "1s",
    # A small model on a machine that does everything at once has odd pauses; a limit that no pause
    # of its own reaches makes the story the same everywhere.
    "analysis": {
        "interval": "3s",
        "minRequests": 10,
        "failureLimit": 2,
        "metrics": [
            {"name": "errorRate", "maxIncreasePercent": 20},
            {"name": "itlP50", "max": "500ms"},
        ],
    },
}


@dataclass
class Tally:
    """What clients saw."""

    served: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Story:
    """The events of `pagelet up`, as they come, told and kept."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._events: list[dict[str, Any]] = []
        self._news = asyncio.Condition()

    async def follow(self) -> None:
        """Take in events until there are no more."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            say(f"  {event['reason']}: {event['message']}")
            async with self._news:
                self._events.append(event)
                self._news.notify_all()

    def told(self) -> int:
        """Return how many events there were so far."""
        return len(self._events)

    async def wait_for(self, *reasons: str, since: int = 0) -> dict[str, Any]:
        """Return the first event with one of the reasons, once it has come.

        Raises:
            TimeoutError: It did not come.
        """

        def found() -> list[dict[str, Any]]:
            return [event for event in self._events[since:] if event["reason"] in reasons]

        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(found)
            return found()[0]


async def main() -> int:
    """Run the demo; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.yaml"
        write(file, {})
        async with serving(file) as story:
            say("A first revision starts; nobody is served before it is ready.")
            url = (await story.wait_for("Serving"))["url"]
            tally = Tally()
            async with load(url, tally):
                await asyncio.sleep(5)
                good = await try_good(file, story, tally)
                bad = await try_bad(file, story, tally)
            return verdict(good, bad, tally)


async def try_good(file: Path, story: Story, tally: Tally) -> dict[str, Any]:
    """Edit the file for the good; return how that ended."""
    say("\nA good revision: it takes shorter prompts. It gets 5 %, then 50 %, then everything.")
    since, began = story.told(), time.monotonic()
    write(file, {"maxModelLen": 256})
    end = await story.wait_for(*_ENDS, since=since)
    return {"reason": end["reason"], "revision": end["stable"], "seconds": time.monotonic() - began}


async def try_bad(file: Path, story: Story, tally: Tally) -> dict[str, Any]:
    """Edit the file for the bad; return how that ended."""
    say(f"\nA bad revision: its engine holds back every piece of an answer for {DELAY_MS} ms.")
    since = story.told()
    await asyncio.sleep(1)
    before = Counter(tally.served)
    write(file, {"maxModelLen": 256}, delay_ms=DELAY_MS)
    began = await story.wait_for("CanaryReady", since=since)
    started = time.monotonic()
    end = await story.wait_for(*_ENDS, since=since)
    await asyncio.sleep(3)
    served = tally.served - before
    bad = served[began["canary"]]
    return {
        "reason": end["reason"],
        "seconds": time.monotonic() - 3 - started,
        "share": 100 * bad / max(1, sum(served.values())),
        "message": end["message"],
    }


def verdict(good: dict[str, Any], bad: dict[str, Any], tally: Tally) -> int:
    """Say how it went; 0 if as it should."""
    right = good["reason"] == "Promoted" and bad["reason"] == "AnalysisFailed"
    say(f"\nThe good revision: {good['reason']} after {good['seconds']:.0f} s.")
    say(f"The bad revision: {bad['reason']} {bad['seconds']:.0f} s after its first request could")
    say(f"come, having served {bad['share']:.1f} % of the requests meanwhile: {bad['message']}")
    say(f"{sum(tally.served.values())} requests answered, {len(tally.failures)} failed.")
    for failure in tally.failures[:5]:
        say(f"  {failure}")
    summary = {"good": good, "bad": bad, "failed": len(tally.failures)}
    say(json.dumps(summary | {"served": sum(tally.served.values())}))
    return 0 if right and not tally.failures else 1


def write(file: Path, engine: dict[str, Any], delay_ms: int = 0) -> None:
    """Write the resource as a careful editor does: at once."""
    env = [{"name": "DEMO_DELAY_MS", "value": str(delay_ms)}] if delay_ms else []
    document = {
        "apiVersion": "pagelet.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "demo"},
        "spec": {
            "model": {"source": "dummy://tiny"},
            "engine": engine,
            "pod": {"env": env},
            "rollout": _ROLLOUT,
        },
    }
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump(document))
    os.replace(new, file)


@asynccontextmanager
async def serving(file: Path) -> AsyncIterator[Story]:
    """Run `pagelet up` on the file; it has ended when the context has."""
    program = Path(__file__).with_name("serving.py")
    options = ("--json", "--port=0", f"--state-dir={file.parent / 'state'}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, file, *options, stdout=asyncio.subprocess.PIPE
    )
    story = Story(process)
    following = asyncio.create_task(story.follow())
    try:
        yield story
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), PATIENCE_S)
        await following
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def load(url: str, tally: Tally) -> AsyncIterator[None]:
    """Send requests of mixed lengths at a constant rate, whatever becomes of the earlier ones."""
    pending: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession() as session:

        async def send() -> None:
            drawn = random.Random(1)  # noqa: S311
            for number in itertools.count():
                task = asyncio.create_task(ask(session, url, body(drawn, number), tally))
                pending.add(task)
                task.add_done_callback(pending.discard)
                await asyncio.sleep(1 / RATE)

        sender = asyncio.create_task(send())
        try:
            yield
        finally:
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender
            await asyncio.gather(*pending)


def body(drawn: random.Random, number: int) -> dict[str, Any]:
    """Return a request: mostly short, sometimes long, streamed three times out of four."""
    words = min(40, int(drawn.lognormvariate(2, 0.8)) + 1)
    tokens = min(24, int(drawn.lognormvariate(2.3, 0.5)) + 2)
    prompt = " ".join(f"w{number + i}" for i in range(words))
    return {
        "model": "demo",
        "prompt": prompt,
        "max_tokens": tokens,
        "stream": number % 4 != 0,
        "ignore_eos": True,
    }


async def ask(
    session: aiohttp.ClientSession, url: str, request: dict[str, Any], tally: Tally
) -> None:
    """Send one request and judge the answer."""
    try:
        async with session.post(f"{url}/completions", json=request) as answer:
            text = await answer.text()
            whole = text.rstrip().endswith("[DONE]") if request["stream"] else True
            if answer.status != 200 or not whole or '"error"' in text:
                tally.failures.append(f"HTTP {answer.status}: {text[-200:]}")
            tally.served[answer.headers.get("x-pagelet-revision", "?")] += 1
    except aiohttp.ClientError as error:
        tally.failures.append(repr(error))


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
