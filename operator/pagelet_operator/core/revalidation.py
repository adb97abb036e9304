"""Does the stored load test still speak for what is served?

A load test speaks for a model, a tokenizer, a context window and a mix of prompt and output
lengths. Lengths are compared by the Kolmogorov-Smirnov distance of their buckets (powers of two):
the largest difference between the shares of requests up to a length. It is a number from 0 to 1
without a unit, says the same for short and long models, and differences within one bucket, less
than a factor of two, do not count. A mean, or the Wasserstein distance in tokens, would follow
the few longest requests.

The live lengths are a sample, and the limit is widened by how far a sample strays. The tested
ones are none: they are exactly what the test speaks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import sqrt
from typing import Any

from pagelet_operator.core.gates import GateKind, Memory
from pagelet_operator.core.gating import latest
from pagelet_operator.core.lengths import NO_LENGTHS, Lengths, distance

SHIFTED_AT = 0.3
"""Distance from which the traffic is another one: three requests in ten are a bucket or more
longer or shorter, which moves a p95 latency by about as much as the load test's tolerance."""

BACK_AT = 0.2
"""Distance below which it is the tested one again; between the two nothing changes, so that a
mix on the border does not turn the condition with every look."""

MIN_REQUESTS = 200
"""Live requests before anything is said of their lengths."""

_KS_99 = 1.63
"""A sample of n lies further than 1.63 / sqrt(n) from its distribution once in 100 times
(Smirnov 1948), less often in buckets; that much is added to the limits."""


class Reason(StrEnum):
    """Why `PerformanceValidated` is as it is."""

    VALIDATED = "LoadTested"
    NOT_TESTED = "NotTested"
    MODEL = "ModelChanged"
    TOKENIZER = "TokenizerChanged"
    CONTEXT = "ContextWindowChanged"
    TRAFFIC = "TrafficShifted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a load test speaks for, beside lengths."""

    model: str
    """Source and revision of the weights."""
    tokenizer: str
    """What turns text into tokens; the model's own if nothing else is asked for."""
    context_window: int | None
    """Tokens; None for the model's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTest:
    """A stored load test."""

    identity: Identity
    lengths: Lengths
    at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether the load test speaks for what is served, and why not."""

    reason: Reason
    message: str = ""
    distances: Mapping[str, float] = field(default_factory=dict)
    """Of prompt and output lengths, where both sides have any."""

    @property
    def holds(self) -> bool:
        """The condition's status."""
        return self.reason is Reason.VALIDATED


def identity(template: Mapping[str, Any]) -> Identity:
    """Return what a revision's template asks for."""
    model, engine = template.get("model", {}), template.get("engine", {})
    weights = f"{model.get('source', '')}@{model.get('revision', '')}"
    return Identity(
        model=weights,
        tokenizer=str(engine.get("tokenizer", model.get("tokenizer", ""))),
        context_window=engine.get("maxModelLen"),
    )


def validate(
    tested: StoredTest | None, serving: Identity, live: Lengths, before: Reason | None = None
) -> Validation:
    """Return whether a load test speaks for what is served.

    Args:
        tested: The load test of the revision that serves, or of the one before it.
        serving: What serves now.
        live: Lengths of users' requests, of the last hours.
        before: What was said at the last look; on the border it is said again.
    """
    if tested is None:
        return Validation(Reason.NOT_TESTED, "no load test was passed yet")
    changed = _changed(tested.identity, serving)
    if changed is not None:
        return changed
    return _compared(tested.lengths, live, before)


def of_stable(
    memory: Memory,
    stable: str,
    templates: Mapping[str, Mapping[str, Any]],
    live: Lengths = NO_LENGTHS,
    before: Reason | None = None,
) -> Validation:
    """Return whether a load test speaks for the stable revision.

    Its own does. Without one, that of another revision that still exists does, unless the weights,
    the tokenizer or the context window differ.

    Args:
        memory: Results of gates.
        stable: The revision that serves.
        templates: Of the revisions that exist.
        live: Lengths of users' requests, of the last hours; empty where nobody looked.
        before: What was said of this revision at the last look.
    """
    others = [name for name in templates if name != stable]
    found = [(name, latest(memory, name, GateKind.LOAD_TEST)) for name in (stable, *others)]
    tests = [(name, test) for name, test in found if test is not None and name in templates]
    if not tests:
        return validate(None, Identity(model="", tokenizer="", context_window=None), NO_LENGTHS)
    name, test = max(tests, key=lambda item: (item[0] == stable, item[1].finished_at or 0.0))
    about = StoredTest(
        identity=identity(templates[name]), lengths=test.lengths, at=test.finished_at or 0.0
    )
    serving = identity(templates[stable]) if stable in templates else about.identity
    return validate(about, serving, live, before)


def _changed(tested: Identity, serving: Identity) -> Validation | None:
    if tested.model != serving.model:
        said = f"tested {tested.model}, serving {serving.model}"
        return Validation(Reason.MODEL, said)
    if tested.tokenizer != serving.tokenizer:
        said = f"tested {tested.tokenizer or 'its own'}, serving {serving.tokenizer or 'its own'}"
        return Validation(Reason.TOKENIZER, said)
    if tested.context_window != serving.context_window:
        then, now = tested.context_window or "the model's", serving.context_window or "the model's"
        return Validation(Reason.CONTEXT, f"tested {then} tokens, serving {now}")
    return None


def _compared(tested: Lengths, live: Lengths, before: Reason | None) -> Validation:
    found, far = {}, []
    least = BACK_AT if before is Reason.TRAFFIC else SHIFTED_AT
    for name, then, now in (
        ("prompt", tested.prompt, live.prompt),
        ("output", tested.output, live.output),
    ):
        apart = distance(then, now) if len(then) == len(now) else None
        if apart is None or sum(now) < MIN_REQUESTS:
            continue
        found[name] = apart
        limit = least + _KS_99 / sqrt(sum(now))
        if apart > limit:
            far.append(f"{name} lengths are {apart:.2f} from the tested ones, at most {limit:.2f}")
    if far:
        return Validation(Reason.TRAFFIC, "; ".join(far), found)
    if before is Reason.TRAFFIC and not found:
        # It had shifted, and there are too few requests to say that it is back.
        return Validation(Reason.TRAFFIC, "too few requests to tell anew", found)
    return Validation(Reason.VALIDATED, "the load test speaks for what is served", found)
