"""The base of everything a client may send: exact types, no unknown fields, immutable."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A part of a request body."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
