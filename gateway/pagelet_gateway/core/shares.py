"""Which share of a model's requests each revision really got, over the last minute."""

from collections import Counter
from dataclasses import dataclass, field

WINDOW_S = 60.0
"""Long enough for a share of a few percent to show at one request per second."""

SLOT_S = 5.0
"""The window moves on in steps of this."""


@dataclass(slots=True)
class ShareWindow:
    """Counts requests by model and revision in slots of time. Memory: one counter per slot."""

    _slots: dict[int, Counter[tuple[str, str]]] = field(default_factory=dict)

    def count(self, model: str, revision: str, now: float) -> None:
        """Count one request that `revision` answers."""
        slot = int(now // SLOT_S)
        if slot not in self._slots:
            self._forget(slot)
            self._slots[slot] = Counter()
        self._slots[slot][model, revision] += 1

    def shares(self, now: float) -> dict[tuple[str, str], float]:
        """Ratio in [0, 1] by (model, revision); a model without requests is not named."""
        counts = self.counts(now)
        totals: Counter[str] = Counter()
        for (model, _), count in counts.items():
            totals[model] += count
        return {key: count / totals[key[0]] for key, count in counts.items()}

    def counts(self, now: float) -> Counter[tuple[str, str]]:
        """Requests of the window by (model, revision)."""
        self._forget(int(now // SLOT_S))
        counts: Counter[tuple[str, str]] = Counter()
        for slot in self._slots.values():
            counts.update(slot)
        return counts

    def _forget(self, current: int) -> None:
        oldest = current - int(WINDOW_S / SLOT_S)
        for slot in [slot for slot in self._slots if slot <= oldest]:
            del self._slots[slot]
