"""Between the control socket and the loop: who asked for what, and what the loop made of it."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from pagelet_operator.api import report
from pagelet_operator.api.rollout_text import RolloutError
from pagelet_operator.core.model import Model, ModelRef
from pagelet_operator.core.planning import Outcome
from pagelet_operator.core.rollout import Command, parse_command


class Steering:
    """Hands commands to the loop, one at a time for each model, and outcomes to whoever asks.

    Args:
        wake: Makes the loop take a turn soon.
        url: Where clients send requests, for the status.
    """

    def __init__(self, wake: Callable[[], None], url: str) -> None:
        self._wake = wake
        self._url = url
        self._commands: dict[ModelRef, Command] = {}
        self._known: dict[ModelRef, tuple[Model, Outcome]] = {}
        self._turned = asyncio.Event()
        self._giving = asyncio.Lock()

    def command(self, ref: ModelRef) -> Command | None:
        """Return the last command for a model; the rollout knows whether it was answered."""
        return self._commands.get(ref)

    def note(self, model: Model, outcome: Outcome) -> None:
        """Take in what the loop decided on a model."""
        self._known[model.ref] = model, outcome

    def turned(self, refs: Collection[ModelRef]) -> None:
        """Take in that a turn is over, in which these models exist."""
        for ref in self._known.keys() - set(refs):
            del self._known[ref]
            self._commands.pop(ref, None)
        self._turned.set()
        self._turned = asyncio.Event()

    async def handle(self, name: str, text: str | None) -> dict[str, Any]:
        """Return a model's status, after its command if there is one; a `control.Handler`.

        Raises:
            RolloutError: There is no such model.
        """
        if text is not None:
            async with self._giving:
                await self._give(self._find(name), text)
        model, outcome = self._known[self._find(name)]
        return report.status(
            model, outcome, before=None, endpoint=self._url, selector=None, now=time.time()
        )

    async def _give(self, ref: ModelRef, text: str) -> None:
        self._commands[ref] = command = parse_command(text)
        self._wake()
        while ref in self._known:
            answer = self._known[ref][1].state.answer
            if answer is not None and answer.token == command.token:
                return
            await self._turned.wait()

    def _find(self, name: str) -> ModelRef:
        found = [ref for ref in self._known if name in (ref.name, str(ref))]
        if len(found) == 1:
            return found[0]
        names = ", ".join(str(ref) for ref in sorted(found or self._known)) or "none yet"
        if found:
            raise RolloutError(f"{name!r} is the name of several models; write one of {names}")
        raise RolloutError(f"no model {name!r} here; there are: {names}")
