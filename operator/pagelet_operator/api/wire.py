"""What every part of the resource shares: camelCase on the wire, frozen, nothing unknown."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, model_validator
from pydantic.alias_generators import to_camel


class WireModel(BaseModel):
    """A part of the resource: camelCase on the wire, unknown keys refused, frozen.

    Strict, so that `"2"` is no number here either: the API server would refuse it.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, written: Any) -> Any:
        """Drop nulls of fields that may be left out, as the API server does before defaulting.

        `engine:` with every line under it commented out is null in YAML.
        """
        if not isinstance(written, Mapping):
            return written
        optional = {
            key
            for name, field in cls.model_fields.items()
            if not field.is_required()
            for key in (name, field.alias)
        }
        return {k: value for k, value in written.items() if value is not None or k not in optional}


def cel_rule(rule: str, message: str) -> JsonValue:
    """Return one CEL rule, as `x-kubernetes-validations` wants it."""
    return {"rule": rule, "message": message}
