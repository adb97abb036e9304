"""Runs a plan: closed loop (so many in flight) or open loop (by the clock, come what may)."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import aiohttp

from pagelet_bench.client import Endpoint, complete
from pagelet_bench.core.dialect import Turn
from pagelet_bench.core.result import Outcome, RequestResult
from pagelet_bench.core.workload import PlannedRequest, Profile

OnResult = Callable[[RequestResult], None]
Conversation = Sequence[PlannedRequest]


async def run(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    profile: Profile,
    requests: Sequence[PlannedRequest],
    *,
    timeout_s: float,
    on_result: OnResult,
) -> None:
    """Send every request of the plan and report each result, in the order of their ends.

    Cancelling it abandons what is in flight; results already reported stay valid.
    """
    sender = _Sender(session, endpoint, profile.think_s, timeout_s, on_result)
    grouped = groupby(requests, key=lambda request: request.conversation)
    conversations = [tuple(turns) for _, turns in grouped]
    if profile.concurrency is None:
        await _open_loop(sender, conversations)
        return
    waiting = iter(conversations)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(profile.concurrency, len(conversations))):
            group.create_task(_worker(sender, waiting))


@dataclass(frozen=True, slots=True)
class _Sender:
    """Sends conversations to one endpoint."""

    session: aiohttp.ClientSession
    endpoint: Endpoint
    think_s: float
    timeout_s: float
    on_result: OnResult

    async def send(self, conversation: Conversation, due_s: float | None = None) -> None:
        """Send the turns of one conversation, each after the answer to the one before.

        Args:
            conversation: At least one turn.
            due_s: When the first turn should be sent, monotonic seconds; None for now.
        """
        history: list[Turn] = []
        for request in conversation:
            if history:
                due_s = time.monotonic() + self.think_s
                await asyncio.sleep(self.think_s)
            result = await complete(
                self.session,
                self.endpoint,
                request,
                timeout_s=self.timeout_s,
                late_s=0.0 if due_s is None else max(0.0, time.monotonic() - due_s),
                history=history,
            )
            self.on_result(result)
            if result.outcome is not Outcome.OK:
                self._give_up(conversation[len(history) + 1 :])
                return
            history.append(Turn(request, result.text))

    def _give_up(self, left: Conversation) -> None:
        """Report the turns that cannot follow a failed one."""
        now = time.monotonic()
        for request in left:
            self.on_result(
                RequestResult(
                    index=request.index,
                    outcome=Outcome.NOT_SENT,
                    detail="an earlier turn of its conversation failed.",
                    late_s=0.0,
                    started_s=now,
                    ended_s=now,
                    token_times_s=(),
                    prompt_tokens=0,
                    output_tokens=0,
                    requested_tokens=request.output_tokens,
                    turn=request.turn,
                )
            )


async def _worker(sender: _Sender, waiting: Iterator[Conversation]) -> None:
    for conversation in waiting:  # shared: whichever worker is free takes the next
        await sender.send(conversation)


async def _open_loop(sender: _Sender, conversations: Sequence[Conversation]) -> None:
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for conversation in conversations:
            due_s = began_s + conversation[0].due_s
            await asyncio.sleep(due_s - time.monotonic())
            group.create_task(sender.send(conversation, due_s))
