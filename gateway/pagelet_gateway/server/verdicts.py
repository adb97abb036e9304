"""Tells the circuits how a request went, once per endpoint and once per revision it was at."""

from pagelet_gateway.core.guard import Entry, Guard
from pagelet_gateway.core.retry import BREAKING, INCIDENTS, Failure
from pagelet_gateway.core.router import Target

_LATE = "late"
"""The cause of all that had no answer in time at the same time, wherever they were."""


class Verdicts:
    """Follows one request through the circuits it enters. Times are monotonic seconds."""

    __slots__ = ("_cause", "_circuit", "_endpoint", "_failed", "_guard", "_key", "_url")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._key: tuple[str, str] | None = None
        self._circuit: Entry | None = None
        self._endpoint: Entry | None = None
        self._failed = False
        self._cause: str | None = None
        self._url = ""

    def begin(self, target: Target, now: float, deadline: float) -> None:
        """An attempt goes to `target`."""
        if self._key != target.key:
            self._leave(now)
            self._key = target.key
            self._circuit = self._guard.enter_circuit(target.key, now, deadline)
        self._failed, self._cause, self._url = False, None, target.url
        if target.revision:
            entry = self._guard.enter_endpoint(target.key, target.url, now, deadline)
            self._endpoint = entry

    def answered(self, now: float) -> None:
        """The first byte is here."""
        for entry in (self._endpoint, self._circuit):
            if entry is not None:
                entry.answered(now)

    def failed(
        self, failure: Failure, now: float, *, is_excused: bool = False, is_common: bool = False
    ) -> None:
        """The attempt failed before that; another may follow.

        Args:
            failure: How.
            now: When.
            is_excused: Whether nobody is to blame, such as after too little time.
            is_common: Whether all who waited at the same time ran out of it together.
        """
        if failure in BREAKING and not is_excused:
            self._failed = True
            self._cause = _LATE if is_common else self._url if failure in INCIDENTS else None
            if self._endpoint is not None:
                self._endpoint.fail(now, cause=_LATE if is_common else None)
        elif self._endpoint is not None:
            self._endpoint.release()
        self._endpoint = None

    def end(self, now: float, *, is_good: bool | None, is_common: bool = False) -> None:
        """The request is over; may be called again.

        Args:
            now: When.
            is_good: Whether whoever was asked last did well; None if that is not known, or
                was another's doing.
            is_common: As in `failed`.
        """
        if self._endpoint is not None and is_good is None:
            self._endpoint.release()
        elif self._endpoint is not None:
            if is_good:
                self._endpoint.succeed(now)
            else:
                self._endpoint.fail(now, cause=_LATE if is_common else None)
                self._cause = self._url
            self._failed = not is_good
        if is_common:
            self._cause = _LATE
        self._endpoint = None
        self._leave(now, is_good=is_good)

    def _leave(self, now: float, *, is_good: bool | None = None) -> None:
        circuit, self._circuit = self._circuit, None
        failed, self._failed, self._key = self._failed, False, None
        if circuit is None:
            return
        if is_good:
            circuit.succeed(now)
        elif failed or is_good is False:
            circuit.fail(now, cause=self._cause)
        else:
            circuit.release()
