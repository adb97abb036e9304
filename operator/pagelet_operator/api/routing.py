"""`spec.routing`, `spec.fallback` and `spec.circuitBreaker`: how requests find an engine.

All of it acts at the gateway: a change takes effect there within a second and restarts nothing.
"""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from pagelet_operator.api.engine import SecretKeyRef
from pagelet_operator.api.quantities import Timeout
from pagelet_operator.api.wire import WireModel, cel_rule

URL_PATTERN = r"^https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~%/-]*)?$"

MAX_FALLBACKS = 5
"""Longer chains only add time to an answer that nobody gives."""


class Routing(WireModel):
    """How a request finds a revision and one of its engines."""

    policy: Literal["LeastQueue", "PrefixAware", "RoundRobin"] = Field(
        default="LeastQueue",
        description=(
            "Which engine of a revision: the one with the least waiting (LeastQueue, safe for any "
            "traffic), the one that likely holds the prompt's beginning in its prefix cache "
            "(PrefixAware), or each in turn."
        ),
    )
    stickiness: Literal["Conversation", "User", "None"] = Field(
        default="Conversation",
        description=(
            "What stays on one revision during a rollout: a conversation (header "
            "x-pagelet-conversation, else the body's user, else the first message), a user, or "
            "nothing. Conversation, since a model that changes between two answers confuses."
        ),
    )
    mirror_percent: int = Field(
        default=0,
        ge=0,
        le=100,
        description=(
            "Share of stable's requests that are sent to the canary as well, percent; those "
            "answers are dropped. 0, since a copy costs as much as a request."
        ),
    )


class CircuitBreaker(WireModel):
    """When an engine, or a whole revision, is left alone for a while."""

    consecutive_errors: int = Field(
        default=5,
        ge=1,
        le=1000,
        description=(
            "Failures in a row that take an engine out. 5: a restart costs a few, chance rarely "
            "five."
        ),
    )
    error_rate_percent: int = Field(
        default=50,
        ge=1,
        le=100,
        description="Share of failed requests that takes an engine out, percent.",
    )
    open_for: Timeout = Field(
        default="30s",
        description=(
            "How long until one request tries it again; doubled each time in a row, up to 5m. 30s "
            "is about how long a small engine takes to start."
        ),
    )
    max_ejected_percent: int = Field(
        default=50,
        ge=0,
        le=100,
        description=(
            "Largest share of a revision's engines that may be out at once, percent. 50: what "
            "fails everywhere is not the engines' fault, and half can carry most loads."
        ),
    )


class Fallback(WireModel):
    """Who answers when no revision of the model can: another ModelDeployment or an API."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel_rule(
                    "has(self.modelDeployment) != has(self.url)",
                    "needs exactly one of modelDeployment and url",
                ),
                cel_rule("has(self.url) == has(self.model)", "url and model go together"),
                cel_rule(
                    "has(self.url) || !has(self.apiKeySecretRef)",
                    "apiKeySecretRef belongs to url",
                ),
            ]
        }
    )

    model_deployment: str | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="Another ModelDeployment of this namespace.",
    )
    url: str | None = Field(
        default=None,
        pattern=URL_PATTERN,
        max_length=1024,
        description="Base URL of an OpenAI-compatible API, such as https://host/v1.",
    )
    model: str | None = Field(
        default=None, min_length=1, max_length=256, description="The model's name at that URL."
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None, description="The key for that URL. Default: none is sent."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.model_deployment is None) == (self.url is None):
            raise ValueError("needs exactly one of modelDeployment and url")
        if (self.url is None) != (self.model is None):
            raise ValueError("url and model go together")
        if self.url is None and self.api_key_secret_ref is not None:
            raise ValueError("apiKeySecretRef belongs to url")
        return self
