"""How many requests an endpoint may have at once before all of them come too late.

An engine that takes whatever it is sent answers nobody in time once that is far too much. Then a
limit on what is in flight there keeps the answers of those inside in time; the others wait in
front (`core.waiting_line`). It is set when both hold for the median of the last answers:

late     they began after `LATE` of the time their requests had
crowded  the engine says that a queue stands in front of it; of one that says nothing: they took
         `SLOW` times as long as the fastest of their kind

Neither is enough alone: a long answer is late at an idle engine, too, and a busy engine that is
in time does its work. So whoever gives requests ten minutes never meets a limit that an engine
could do without. The limit then follows the lateness towards `TARGET`, judged by requests that
were sent under it, and goes when nobody meets it any more. If half of it brings no earlier answers
again and again, it is not the crowd that makes them late: the limit goes at once, and what counts
as fast is learned anew.

Sources of the ideas: Brakmo and Peterson 1995 (TCP Vegas: the time above the fastest is the
queue); Envoy's adaptive concurrency filter (gradient of the fastest to the present time).
"""

import math
from dataclasses import dataclass, field

LATE = 0.4
"""Part of a request's time that may pass before the first byte; what follows needs the rest."""
TARGET = 0.25
"""What a limit aims at; the distance to `LATE` keeps it from swinging."""
SLOW = 3.0
"""Times the fastest. Kinds span a factor of two in length, and that much differs by chance."""
STANDING_SHARE = 0.25
"""A queue stands if more wait than this part of those that run."""
MIN_TIME_S = 1.0
"""Less time than that counts as that: a client in a hurry must not slow down the others."""
SAMPLE = 16
"""Answers that are judged together."""
FLOOR = 8
"""No limit is below; also what several gateways in front of one engine leave each other."""
CUT, GROWTH = 0.7, 1.1
"""Most that one judgement takes away or adds."""
RELEASE_S = 10.0
"""A limit that nobody met for so long goes."""
IN_VAIN = 3
"""Judgements in a row that find half of the limit no help; fewer may be a pause of the engine."""
REST_S = 60.0
"""How long no limit is set after one that did not help."""
MEMORY_S = 300.0
"""The fastest times are those of this long at least and twice as long at most."""
MAX_AGE_S = 3.0
"""An older word on the engine's queue does not count."""

Kind = tuple[int, ...]
"""What makes times comparable: streamed or not, and the octaves of lengths."""


def kind_of(*, is_stream: bool, num_prompt_bytes: int, max_tokens: int | None) -> Kind:
    """Return the kind of a request; a stream's first byte does not depend on its output."""
    output = 0 if is_stream else (max_tokens or 0).bit_length()
    return int(is_stream), num_prompt_bytes.bit_length(), output


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request that was answered, or whose time was up before that."""

    kind: Kind
    asked_at: float
    """Monotonic seconds when it was sent."""
    took_s: float
    """From then to the first byte."""
    of_s: float
    """All the time it had, from its arrival."""
    among: int
    """Own requests in flight at the endpoint when it was sent, itself included."""


@dataclass(slots=True)
class Pressure:
    """One endpoint. Times are monotonic seconds."""

    _limit: int | None = None
    _num_in_vain: int = 0
    _begun: tuple[float, float] | None = None
    """What was in flight, and how late the answers were, when the limit was set."""
    _changed_at: float = -math.inf
    _met_at: float = -math.inf
    _rests_until: float = -math.inf
    _queue: tuple[int, int, float] | None = None
    """Waiting, running, and when the engine said so."""
    _fastest: dict[Kind, float] = field(default_factory=dict)
    _fastest_before: dict[Kind, float] = field(default_factory=dict)
    _turned_at: float = -math.inf
    _judged: list[tuple[float, float, int]] = field(default_factory=list)
    """Lateness, slowness and company of the answers since the last judgement."""

    def limit(self, now: float) -> int | None:
        """Most own requests at once; None for as many as come."""
        if self._limit is not None and now - self._met_at > RELEASE_S:
            self._release()
        return self._limit

    def met(self, now: float) -> None:
        """Take it that a request found no place."""
        self._met_at = max(self._met_at, now)

    def told(self, *, waiting: int, running: int, now: float) -> None:
        """Take what the engine says of its queue."""
        self._queue = (waiting, running, now)

    def saw(self, sample: Sample, now: float) -> None:
        """Learn from one request; those sent before the last change say nothing about it."""
        slowness = sample.took_s / max(1e-6, self._fastest_of(sample, now))
        if sample.asked_at < self._changed_at:
            return
        lateness = sample.took_s / max(MIN_TIME_S, sample.of_s)
        self._judged.append((lateness, slowness, sample.among))
        if len(self._judged) >= SAMPLE:
            late, slow, among = (_median(column) for column in zip(*self._judged, strict=True))
            self._judged.clear()
            self._judge(late, slow, among, now)

    def _judge(self, late: float, slow: float, among: float, now: float) -> None:
        limit = self.limit(now)
        if limit is None:
            if late > LATE and now >= self._rests_until and self._is_crowded(slow, now):
                self._begun = (among, late)
                self._met_at = now
                self._set(among * max(CUT, TARGET / late), now)
        elif self._is_in_vain(late, among):
            self._release()
            self._fastest, self._fastest_before = {}, {}
            self._rests_until = now + REST_S
        elif late > LATE:
            self._set(min(limit, among) * max(CUT, TARGET / late), now)
        elif late < TARGET and self._met_at > self._changed_at:
            self._set(limit * GROWTH + 1, now)

    def _is_crowded(self, slow: float, now: float) -> bool:
        if self._queue is not None and now - self._queue[2] <= MAX_AGE_S:
            waiting, running, _ = self._queue
            return waiting > STANDING_SHARE * running
        return slow >= SLOW

    def _is_in_vain(self, late: float, among: float) -> bool:
        assert self._begun is not None, "a limit has a beginning"
        among_then, late_then = self._begun
        is_no_help = late > LATE and among <= among_then / 2 and late >= 0.75 * late_then
        self._num_in_vain = self._num_in_vain + 1 if is_no_help else 0
        return self._num_in_vain >= IN_VAIN

    def _set(self, limit: float, now: float) -> None:
        self._limit = max(FLOOR, int(limit))
        self._changed_at = now

    def _release(self) -> None:
        self._limit, self._begun, self._num_in_vain = None, None, 0
        self._judged.clear()

    def _fastest_of(self, sample: Sample, now: float) -> float:
        """The fastest of the sample's kind; while a limit holds nothing is forgotten, since all
        that could be learned then are the times of a crowd."""
        if self._limit is None and now - self._turned_at > MEMORY_S:
            self._fastest, self._fastest_before = {}, self._fastest
            self._turned_at = now
        least = min(
            sample.took_s,
            self._fastest.get(sample.kind, math.inf),
            self._fastest_before.get(sample.kind, math.inf),
        )
        self._fastest[sample.kind] = min(sample.took_s, self._fastest.get(sample.kind, math.inf))
        return least


def _median(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]
