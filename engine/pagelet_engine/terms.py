"""On whose account a sequence runs, and until when: decided by the API process, never by a body."""

from dataclasses import dataclass, replace

MIN_LEFT_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the engine process is told beside prompt and sampling; see `messages.Submit`."""

    cache_salt: bytes = b""
    tenant: str = ""
    weight: float = 1.0
    priority: int = 0
    deadline_s: float | None = None
    """Seconds left; None means for ever."""

    def after(self, seconds: float) -> "Terms":
        """Return the terms once `seconds` of the time left have passed."""
        if self.deadline_s is None:
            return self
        return replace(self, deadline_s=max(self.deadline_s - seconds, MIN_LEFT_S))
