"""Reads Prometheus' text format, only the families asked for, and believes nothing odd.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LINE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?[ \t]+([^ \t]+)(?:[ \t]+-?[0-9]+)?")
_LABEL = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"n": "\n", "\\": "\\", '"': '"'}


class ExpositionError(Exception):
    """What a process exports cannot be used; the message quotes the line."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line."""

    name: str
    labels: Mapping[str, str]
    value: float
    """Finite, not negative: all that we read counts something."""


def samples(text: str, names: frozenset[str]) -> Iterator[Sample]:
    """Yield the samples of these names, in their order.

    Raises:
        ExpositionError: One of them is no sample, or its value is NaN, infinite or negative.
    """
    for line in text.split("\n"):
        if _name(line) in names:
            yield _sample(line)


def _name(line: str) -> str:
    end = min((at for at in (line.find("{"), line.find(" ")) if at >= 0), default=len(line))
    return line[:end]


def _sample(line: str) -> Sample:
    found = _LINE.fullmatch(line.strip(" \t\r"))
    if found is None:
        raise ExpositionError(f"this is no sample: {line[:120]!r}")
    name, labels, text = found.groups()
    try:
        value = float(text)
    except ValueError:
        raise ExpositionError(f"this is no value: {line[:120]!r}") from None
    if not math.isfinite(value) or value < 0:
        raise ExpositionError(f"{text} counts nothing: {line[:120]!r}")
    return Sample(name, _labels(labels or "", line), value)


def _labels(text: str, line: str) -> dict[str, str]:
    found, at = {}, 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None:
            raise ExpositionError(f"these are no labels: {line[:120]!r}")
        found[match[1]] = _ESCAPED.sub(lambda part: _MEANT.get(part[1], part[0]), match[2])
        at = match.end()
    return found
