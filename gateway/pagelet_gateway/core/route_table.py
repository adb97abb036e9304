"""The route table: which revisions of which models serve, where, for whom, within what limits.

Written by the operator, obeyed by the gateway; the JSON contract is
docs/reference/route-table.md, read by `table_parser`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pagelet_gateway.core.standing import Standing

DEFAULT_REQUEST_TIMEOUT_S = 600.0
"""Ten minutes: longer than any answer a user waits for, short enough to free a lost slot."""


class Role(StrEnum):
    """What a revision is to its model."""

    STABLE = "stable"
    CANARY = "canary"
    RETIRED = "retired"


class Policy(StrEnum):
    """How an endpoint is chosen among those of a revision."""

    LEAST_QUEUE = "LeastQueue"
    """The one with the least waiting and in flight."""
    PREFIX_AWARE = "PrefixAware"
    """The one whose prefix cache likely holds the prompt's start, unless it is overloaded."""
    ROUND_ROBIN = "RoundRobin"


class Stickiness(StrEnum):
    """What keeps the requests of one conversation on one revision."""

    CONVERSATION = "Conversation"
    """Header x-pagelet-conversation, else the body's user, else the first message."""
    USER = "User"
    """The body's user alone."""
    NONE = "None"
    """Every request is dealt on its own, and shares are exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What may be used at most; None is no limit."""

    max_concurrent_requests: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Prompt and output together, as the engine counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Who may use a model, and how much."""

    name: str
    key_hashes: frozenset[str]
    """Lower-case SHA-256 hex digests of the API keys; empty while no key is known."""
    weight: int = 1
    """Share under contention, relative to the other tenants'."""
    priority: int = 0
    """Higher is served first."""
    quota: Quota = Quota()
    may_choose_revision: bool = False
    """Whether the header x-pagelet-revision picks the revision, for testers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What one request may ask for; None is no cap but the engine's."""

    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How requests find an endpoint."""

    policy: Policy = Policy.LEAST_QUEUE
    stickiness: Stickiness = Stickiness.CONVERSATION
    mirror_percent: int = 0
    """Share of stable's requests copied to the canary; the copies' answers are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When an endpoint or a whole revision is left alone."""

    consecutive_errors: int = 5
    """Failures in a row after which an endpoint is ejected and a revision's circuit opens."""
    error_rate: int = 50
    """Percent of failed requests over the window that has the same effect."""
    open_for_s: float = 30.0
    """How long until one probe is let through; doubled per ejection in a row, up to 300 s."""
    max_ejected_percent: int = 50
    """Largest share of a revision's endpoints ejected at once; one always may be, and one
    always stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """One link of the chain behind stable: exactly one of `model` and `url` is set."""

    model: str | None = None
    """Another model of this table."""
    url: str | None = None
    """Base URL of an OpenAI-compatible API, such as https://host/v1; it stands for our /v1."""
    url_model: str | None = None
    """The model's name there."""
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One version of a model and the engines that serve it."""

    name: str
    role: Role
    weight: int
    """Share of the model's requests, percent."""
    endpoints: tuple[str, ...]
    """Base URLs, `scheme://host[:port]`, no trailing slash."""
    metrics_urls: Mapping[str, str] = field(default_factory=dict)
    """Base URL of /metrics by endpoint, for those that serve it on another port."""
    quota: Quota = Quota()
    """What a canary may take at most, whatever its share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """All revisions of one model name."""

    name: str
    resource: str
    """`namespace/name` of the ModelDeployment."""
    generation: int
    request_timeout_s: float
    """From the first byte of the request to the last of the answer."""
    revisions: tuple[Revision, ...]
    caps: Caps = Caps()
    quota: Quota = Quota()
    tenants: tuple[Tenant, ...] | None = None
    """None when anybody may use the model; empty when nobody may."""
    routing: Routing = Routing()
    breaker: BreakerPolicy = BreakerPolicy()
    fallback: tuple[Fallback, ...] = ()
    gateway_key: str | None = field(default=None, repr=False)
    """What the model's engines believe x-pagelet-* headers by."""
    standing: Standing | None = None
    """How its rollout stands, for people; routes nothing."""

    @property
    def serving(self) -> tuple[Revision, ...]:
        """Revisions that get traffic, in table order."""
        return tuple(revision for revision in self.revisions if revision.weight > 0)

    @property
    def is_servable(self) -> bool:
        """Whether at least one revision has both a share and an endpoint."""
        return any(revision.endpoints for revision in self.serving)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Every model this gateway answers for, by name."""

    models: Mapping[str, ModelRoute]
