"""Which replicas end when fewer are needed: those with the fewest streams."""

from collections.abc import Iterable, Mapping


def victims(endpoints: Iterable[str], streams: Mapping[str, float], count: int) -> tuple[str, ...]:
    """Return `count` of the endpoints, the one with the fewest streams first.

    A replica that did not tell its streams is taken last: it may have any number. Ties go to the
    name that sorts last, so that the same question has the same answer.

    Args:
        endpoints: Base URLs of the ready replicas.
        streams: Sequences under way by endpoint, as far as known.
        count: How many are to end.
    """
    known = sorted((e for e in endpoints if e in streams), reverse=True)
    unknown = sorted((e for e in endpoints if e not in streams), reverse=True)
    ordered = [*sorted(known, key=lambda e: streams[e]), *unknown]
    return tuple(ordered[: max(0, count)])
