"""What every part of the resource shares: camelCase on the wire, frozen, nothing unknown."""

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel


class WireModel(BaseModel):
    """A part of the resource: camelCase on the wire, unknown keys refused, frozen.

    Strict, so that `"2"` is no number here either: the API server would refuse it.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True
    )


def cel_rule(rule: str, message: str) -> JsonValue:
    """Return one CEL rule, as `x-kubernetes-validations` wants it."""
    return {"rule": rule, "message": message}
