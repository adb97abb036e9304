"""`kind: Secret` documents, for the commands that work without a cluster."""

import base64
from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator

from pagelet_operator.api.engine import OBJECT_NAME_PATTERN
from pagelet_operator.api.wire import WireModel

Secrets = Mapping[tuple[str, str], Mapping[str, bytes]]
"""The content of Secrets by namespace and name."""


class InvalidSecretError(Exception):
    """A document is no Secret; the message never shows what it holds."""


class _Metadata(WireModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(pattern=OBJECT_NAME_PATTERN, max_length=253)
    namespace: str = Field(default="default", min_length=1, max_length=63)


class _Secret(WireModel):
    model_config = ConfigDict(extra="ignore")

    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: _Metadata
    data: dict[str, str] = Field(default_factory=dict)
    string_data: dict[str, str] = Field(default_factory=dict)

    @field_validator("data")
    @classmethod
    def _is_base64(cls, data: dict[str, str]) -> dict[str, str]:
        for key, value in data.items():
            try:
                base64.b64decode(value, validate=True)
            except ValueError:
                raise ValueError(f"{key!r} is not base64; use stringData for plain text") from None
        return data


def is_secret(document: object) -> bool:
    """Say whether a document calls itself a Secret."""
    return isinstance(document, Mapping) and document.get("kind") == "Secret"


def parse_secret(document: object) -> tuple[tuple[str, str], dict[str, bytes]]:
    """Return namespace and name of a Secret, and its content; `stringData` wins over `data`.

    Raises:
        InvalidSecretError: It is none; the message names the field and shows no value.
    """
    try:
        found = _Secret.model_validate(document)
    except ValidationError as error:
        said = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False)
        ]
        raise InvalidSecretError("; ".join(said)) from None
    content = {key: base64.b64decode(value) for key, value in found.data.items()}
    content |= {key: value.encode() for key, value in found.string_data.items()}
    return (found.metadata.namespace, found.metadata.name), content
