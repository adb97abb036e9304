"""What children have to say, kept until the supervisor reads it."""

import asyncio
from contextlib import suppress


class Notices:
    """A mailbox of (reason, sentence); a call posts one and wakes the reader."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, str]] = []
        self._wake = asyncio.Event()

    def __call__(self, reason: str, sentence: str) -> None:
        """Post a notice. From the event loop's thread."""
        self._kept.append((reason, sentence))
        self._wake.set()

    def wake(self) -> None:
        """Wake the reader without a notice."""
        self._wake.set()

    def take(self) -> list[tuple[str, str]]:
        """Return what was posted since the last call."""
        taken, self._kept = self._kept, []
        return taken

    async def wait(self, timeout_s: float) -> None:
        """Return at the next post, one before this call included, or after `timeout_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        self._wake.clear()
