"""Kubernetes' ways to write a duration and an amount of memory, as pydantic types.

Durations: https://pkg.go.dev/time#ParseDuration restricted to h, m, s, ms. Quantities:
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/; our own
amounts of memory are restricted to whole bytes and the usual suffixes.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

DURATION_PATTERN = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"
MEMORY_PATTERN = r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$"

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

MAX_DURATION_S = 8760 * 3600.0
"""A year. What is longer was not meant, and far longer ones cannot be a date."""

_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_UNIT_BYTES = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def seconds(duration: str) -> float:
    """Return the seconds of a duration such as `90s` or `1h30m`.

    Raises:
        ValueError: It is not of that form, or empty.
    """
    if not duration or not re.fullmatch(DURATION_PATTERN, duration):
        raise ValueError(f"{duration!r} is not a duration; write it as 90s, 2m or 1h30m")
    parts = re.findall(r"([0-9]+)(ms|h|m|s)", duration)
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def bounded_seconds(duration: str, at_least_s: float) -> float:
    """Return the seconds of a duration that somebody can mean.

    Raises:
        ValueError: It is none, is below `at_least_s`, or is above a year.
    """
    found = seconds(duration)
    if not at_least_s <= found <= MAX_DURATION_S:
        raise ValueError(f"{duration!r} is not between {at_least_s:g}s and 8760h (a year)")
    return found


def memory_bytes(quantity: str) -> int:
    """Return the bytes of a quantity such as `512Mi`.

    Raises:
        ValueError: It is not of that form.
    """
    found = re.fullmatch(r"([0-9]+)(Ki|Mi|Gi|Ti|k|M|G|T)?", quantity)
    if not found:
        raise ValueError(f"{quantity!r} is not an amount of memory; write it as 512Mi or 2Gi")
    return int(found[1]) * _UNIT_BYTES[found[2] or ""]


def _checked_duration(value: str) -> str:
    bounded_seconds(value, 0.0)
    return value


def _checked_timeout(value: str) -> str:
    bounded_seconds(value, 1.0)
    return value


def _checked_latency(value: str) -> str:
    bounded_seconds(value, 0.001)
    return value


def _duration_schema(at_least: str) -> WithJsonSchema:
    rule = f"duration(self) >= duration('{at_least}') && duration(self) <= duration('8760h')"
    return WithJsonSchema(
        {
            "type": "string",
            "pattern": DURATION_PATTERN,
            "minLength": 2,
            "maxLength": 32,
            "x-kubernetes-validations": [
                {
                    "rule": rule,
                    # Said of what is no duration at all, too, where the pattern says nothing.
                    "message": f"write it as 90s, 2m or 1h30m, from {at_least} to 8760h (a year)",
                }
            ],
        }
    )


def _checked_memory(value: str) -> str:
    memory_bytes(value)
    return value


def _checked_quantity(value: object) -> object:
    # A bare number is how everybody writes GPUs, and the API server takes it in a Pod, too.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(QUANTITY_PATTERN, text):
        raise ValueError(f"{value!r} is not a quantity; write it as 2, 500m or 16Gi")
    return text


# The pattern stands in the schema for the API server; on one machine the sentence is better.
Duration = Annotated[str, AfterValidator(_checked_duration), _duration_schema("0s")]
Timeout = Annotated[str, AfterValidator(_checked_timeout), _duration_schema("1s")]
"""A duration after which something is given up, so never nothing."""
Latency = Annotated[str, AfterValidator(_checked_latency), _duration_schema("1ms")]
"""A duration that something may take, so never nothing."""
Memory = Annotated[
    str,
    AfterValidator(_checked_memory),
    WithJsonSchema({"type": "string", "pattern": MEMORY_PATTERN, "minLength": 1, "maxLength": 32}),
]
Quantity = Annotated[
    str,
    BeforeValidator(_checked_quantity),
    WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN, "maxLength": 32}
    ),
]
