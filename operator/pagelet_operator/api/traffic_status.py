"""`status.traffic`: a model's entry of the route table, as the gateways of a cluster read it.

Addresses are not in it: gateways take them from EndpointSlices, so that a pod that comes or
goes needs no write here. Nor is any key: Secrets are named, and gateways read them.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from pagelet_operator.api.wire import WireModel


class TrafficModel(WireModel):
    """A part of the entry: what another version of the operator wrote beside it is no fault."""

    model_config = ConfigDict(extra="ignore")


class SecretKeyStatus(TrafficModel):
    """One key of a Secret in the resource's namespace."""

    name: str = Field(description="Name of the Secret.")
    key: str = Field(description="Key inside the Secret.")


class QuotaStatus(TrafficModel):
    """What may be used at most."""

    max_concurrent_requests: int | None = Field(
        default=None, description="Most requests in flight at once."
    )
    requests_per_minute: int | None = Field(default=None, description="Most requests per minute.")
    tokens_per_minute: int | None = Field(
        default=None, description="Most tokens per minute, prompt and output together."
    )


class LimitsStatus(QuotaStatus):
    """What one request, and all requests of the model together, may use."""

    max_prompt_tokens: int | None = Field(
        default=None, description="Longest prompt of one request."
    )
    max_output_tokens: int | None = Field(
        default=None, description="Most output tokens of one request."
    )


class TenantStatus(QuotaStatus):
    """Who may use the model."""

    name: str = Field(description="Name of the tenant.")
    api_key_secret_ref: SecretKeyStatus = Field(description="Where its API keys are.")
    weight: int | None = Field(default=None, description="Share under contention.")
    priority: int | None = Field(default=None, description="Higher is served first.")
    may_choose_revision: bool | None = Field(
        default=None, description="Whether x-pagelet-revision picks the revision."
    )


class RoutingStatus(TrafficModel):
    """How a request finds a revision and one of its engines."""

    policy: str | None = Field(default=None, description="Which engine of a revision.")
    stickiness: str | None = Field(default=None, description="What stays on one revision.")
    mirror_percent: int | None = Field(
        default=None, description="Share of requests copied to the canary, percent."
    )


class BreakerStatus(TrafficModel):
    """When an engine, or a whole revision, is left alone for a while."""

    consecutive_errors: int | None = Field(default=None, description="Failures in a row.")
    error_rate_percent: int | None = Field(default=None, description="Failed share, percent.")
    open_for_seconds: float | None = Field(default=None, description="Until the next try.")
    max_ejected_percent: int | None = Field(default=None, description="Largest share, percent.")


class FallbackStatus(TrafficModel):
    """Who answers when no revision can."""

    model: str | None = Field(default=None, description="Another model of the route table.")
    url: str | None = Field(default=None, description="Base URL of an API.")
    url_model: str | None = Field(default=None, description="The model's name there.")
    api_key_secret_ref: SecretKeyStatus | None = Field(
        default=None, description="Where the key for it is."
    )


class RouteStatus(QuotaStatus):
    """What one revision gets of a model's requests."""

    name: str = Field(description="Name of the revision, and of the Service of its pods.")
    role: Literal["stable", "canary", "retired"] = Field(description="What it is to the model.")
    weight: int = Field(ge=0, le=100, description="Share of requests, percent.")


class TrafficStatus(TrafficModel):
    """A model's entry of the route table (docs/reference/route-table.md)."""

    name: str = Field(description="The model name that clients send.")
    resource: str = Field(description="namespace/name of the ModelDeployment.")
    generation: int = Field(description="The generation it was computed from.")
    request_timeout_seconds: float = Field(description="Longest time of one request, seconds.")
    limits: LimitsStatus | None = Field(default=None, description="What requests may use.")
    tenants: list[TenantStatus] | None = Field(
        default=None, description="Who may use the model; anybody if it is left out."
    )
    routing: RoutingStatus | None = Field(default=None, description="How requests find an engine.")
    circuit_breaker: BreakerStatus | None = Field(
        default=None, description="When an engine is left alone."
    )
    fallback: list[FallbackStatus] | None = Field(
        default=None, description="Who answers when no revision can, in order."
    )
    gateway_key_secret_ref: SecretKeyStatus | None = Field(
        default=None, description="Where the key is that engines know gateways by."
    )
    revisions: list[RouteStatus] = Field(description="All revisions, stable first.")
