"""`pagelet rollout` on one machine: finds the `pagelet up` that serves a model, and asks it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pagelet_operator.api.rollout_text import RolloutError
from pagelet_operator.local.control import SOCKET, ask
from pagelet_operator.local.state_dir import state_home


class LocalRollouts:
    """Rollouts of the models of one `pagelet up`."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    async def status(self, name: str) -> dict[str, Any]:
        """Return the model's status.

        Raises:
            RolloutError: It has no such model, or nobody answers.
        """
        return await self._ask(name, None)

    async def give(self, name: str, text: str) -> None:
        """Give a command; the answer comes with `status`.

        Raises:
            RolloutError: As `status`.
        """
        await self._ask(name, text)

    async def _ask(self, name: str, command: str | None) -> dict[str, Any]:
        try:
            return await ask(self._state_dir, name, command)
        except (OSError, TimeoutError) as error:
            why = str(error) or "no answer"
            raise RolloutError(f"no `pagelet up` answers in {self._state_dir}: {why}") from error


async def serving(name: str, env: Mapping[str, str]) -> LocalRollouts | None:
    """Return the running `pagelet up` of this user that has the model, or None.

    Raises:
        RolloutError: Several have it.
    """
    found = []
    for socket in sorted(state_home(env).glob(f"up-*/{SOCKET}")):
        try:
            await ask(socket.parent, name)
        except (RolloutError, OSError, TimeoutError):
            continue  # It has other models, or was ended by force and left its socket.
        found.append(socket.parent)
    if len(found) > 1:
        where = ", ".join(map(str, found))
        raise RolloutError(f"several `pagelet up` have {name!r}; give --state-dir, one of {where}")
    return LocalRollouts(found[0]) if found else None
