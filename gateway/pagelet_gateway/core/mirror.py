"""Which of stable's requests are copied to the canary, and how many copies may run at once."""

from dataclasses import dataclass, field

from pagelet_gateway.core.route_table import ModelRoute, Revision, Role
from pagelet_gateway.core.split import Dealer

MAX_COPIES = 8
"""Copies in flight per model and gateway. A canary too slow for its copies gets fewer of them,
which is what a mirror is meant to find out, and the gateway's memory stays bounded."""


def mirrored_to(route: ModelRoute, revision: str) -> Revision | None:
    """The canary that gets copies of what `revision` answers; None if nobody does.

    Only stable's requests are copied. The canary needs no share: a mirror shows how it does
    before any user meets it.
    """
    if not route.routing.mirror_percent:
        return None
    roles = {item.name: item.role for item in route.revisions}
    if roles.get(revision) is not Role.STABLE:
        return None
    canaries = (item for item in route.revisions if item.role is Role.CANARY and item.endpoints)
    return next(canaries, None)


@dataclass(slots=True)
class MirrorDealer:
    """Deals one model's copies, exactly by percent: never one away from the share."""

    _percent: int = 0
    _turns: Dealer | None = None
    _copies: int = field(default=0)

    def deal(self, percent: int) -> bool:
        """Count one request; whether it is copied."""
        if percent != self._percent:
            shares = {"copy": percent, "none": 100 - percent}
            self._turns = Dealer({name: share for name, share in shares.items() if share})
            self._percent = percent
        return self._turns is not None and self._turns.deal() == "copy"

    def begin(self) -> bool:
        """Take a place for a copy until `end`; False when all are taken."""
        if self._copies >= MAX_COPIES:
            return False
        self._copies += 1
        return True

    def end(self) -> None:
        """Undo one `begin`."""
        assert self._copies > 0
        self._copies -= 1
