"""`spec.limits`: what requests may use, of whom, and who may send any.

All of it acts at the gateway: a change takes effect there within a second and restarts nothing.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from pagelet_operator.api.engine import SecretKeyRef
from pagelet_operator.api.quantities import Timeout
from pagelet_operator.api.wire import WireModel

MAX_COUNT = 2**31 - 1
"""Largest limit; what is above it was not meant, and every reader can hold it."""

TENANT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""What engines take as a tenant, and what fits a metric's label."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]


class Quota(WireModel):
    """What may be used at most; what is left out is not limited."""

    max_concurrent_requests: Count | None = Field(
        default=None,
        description=(
            "Most requests in flight at once. Default: no limit but the engines' own queue, since "
            "a good value depends on the hardware."
        ),
    )
    requests_per_minute: Count | None = Field(
        default=None, description="Most requests per minute. Default: no limit."
    )
    tokens_per_minute: Count | None = Field(
        default=None,
        description=(
            "Most tokens per minute, prompt and output together, charged by what the engine "
            "counted. Default: no limit."
        ),
    )


class Tenant(Quota):
    """Somebody who may use the model, and how much of it."""

    name: str = Field(
        pattern=TENANT_PATTERN,
        description="What metrics, logs and engines call the tenant; never its key.",
    )
    api_key_secret_ref: SecretKeyRef = Field(
        description=(
            "The tenant's API keys, one per line; several let a key be replaced without a gap. A "
            "change of the Secret counts within about a second."
        ),
    )
    weight: int = Field(
        default=1,
        ge=1,
        le=1000,
        description=(
            "Share of the engines while tenants wait, relative to the others'. 1 treats all alike."
        ),
    )
    priority: int = Field(
        default=0,
        ge=-1000,
        le=1000,
        description=(
            "Higher is served first. 0 for all, so that nobody waits for others unless said."
        ),
    )
    may_choose_revision: bool = Field(
        default=False,
        description=(
            "Whether the header x-pagelet-revision picks the revision. False: only testers should "
            "reach a canary before its share does."
        ),
    )


def _unique(tenants: list[Tenant] | None) -> list[Tenant] | None:
    names = [tenant.name for tenant in tenants or ()]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(
                f"tenants[{index}]: the name {name!r} is used twice; give each its own"
            )
    return tenants


class Limits(Quota):
    """What requests may use. A change takes effect at the gateway and restarts nothing."""

    request_timeout: Timeout = Field(
        default="10m",
        description=(
            "Longest time from request to last token; the stream ends with an error after it. "
            "10m lets 8k tokens out at 14 tokens per second."
        ),
    )
    max_prompt_tokens: Count | None = Field(
        default=None,
        description=(
            "Longest prompt of one request, refused above it. Default: what the context window "
            "holds."
        ),
    )
    max_output_tokens: Count | None = Field(
        default=None,
        description=(
            "Most output tokens that one request may ask for. Default: what the context window "
            "leaves."
        ),
    )
    canary: Quota | None = Field(
        default=None,
        description=(
            "What a canary may take beside its share: it bounds how many users a bad one meets. "
            "Default: its share alone."
        ),
    )
    tenants: Annotated[list[Tenant] | None, AfterValidator(_unique)] = Field(
        default=None,
        max_length=1000,
        description=(
            "Who may use the model, each with keys of its own. Default: anybody who reaches the "
            "gateway. An empty list lets nobody in."
        ),
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
