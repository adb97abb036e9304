"""How a gateway is configured: plain frozen data, checked here, filled by the command line."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from pagelet_gateway.errors import ConfigError

STORE_FAILURES = ("local", "open", "closed")
"""What may hold while the store of quotas is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """What the user says about one gateway."""

    route_table: Path | None = None
    """The JSON file to obey; it may appear later and may be replaced at any time. None with
    `kubernetes`."""

    kubernetes: bool = False
    """Whether to follow the ModelDeployments of a cluster instead of a file."""

    namespaces: tuple[str, ...] = ()
    """Namespaces of the cluster to follow; none for all."""

    kubeconfig: str | None = None
    """File that says how to reach the cluster; None for the pod's own account or KUBECONFIG."""

    host: str = "127.0.0.1"
    """Address to bind; loopback unless told otherwise."""

    port: int = 8080
    """TCP port; 0 lets the system choose (the choice is logged)."""

    metrics_port: int | None = None
    """TCP port of the status page and of /metrics, which name every model and tenant; None serves
    /metrics beside the API and no page."""

    metrics_host: str | None = None
    """Address that `metrics_port` is bound at; None for `host`."""

    require_keys: bool = False
    """Whether a model without tenants is closed to all instead of open to everybody."""

    replicas: int | None = None
    """How many gateways share the quotas evenly, this one included; None for one, or for as many
    as `replicas_service` counts."""

    replicas_service: str | None = None
    """Name whose addresses are counted as replicas, such as a headless Service's."""

    quota_store: str | None = field(default=None, repr=False)
    """URL of a Valkey or Redis server that keeps the quotas of all replicas; it may hold a
    password."""

    quota_store_failure: str = "local"
    """What holds while the store is gone: local, open or closed."""

    quota_store_timeout_s: float = 0.5
    """Longest wait of a request for the store; it is near and answers within a millisecond."""

    drain_timeout_s: float = 300.0
    """Longest wait for streams in flight after SIGTERM; then they end with an error event."""

    drain_delay_s: float = 0.0
    """How long new connections are still taken after SIGTERM. Behind a load balancer give it
    the time to notice /readyz; alone on a machine there is nobody to wait for."""

    max_body_bytes: int = 8 * 1024 * 1024
    """Largest request body; above it the answer is 413 before any parsing."""

    max_bodies_bytes: int = 1024 * 1024 * 1024
    """All request bodies that are held together; above it the answer is 503."""

    body_timeout_s: float = 60.0
    """Longest wait for a request body, so that trickling clients cannot hold memory."""

    connect_timeout_s: float = 2.0
    """Longest wait for a TCP connection to an engine; engines are near."""

    head_timeout_s: float = 15.0
    """Longest wait for a request's head, and for the first one of a new connection."""

    max_attempts: int = 3
    """Most attempts per request at the model's own engines, the first included."""

    stream_idle_timeout_s: float = 60.0
    """Longest silence of an engine within an answer; engines send comments every 15 s."""

    slow_reader_timeout_s: float = 30.0
    """Longest wait for a client to take what fills its buffers; then its connection is cut."""

    hold_s: float = 1.0
    """When every endpoint has just refused: how long a request waits for a newer table, since
    an engine may begin to drain a moment before the table that replaces it is read."""

    access_log: bool = True
    """Whether each routed request leaves a line in the log at its end."""

    poll_interval_s: float = 0.1
    """How often the file is looked at; a change takes effect within about this time."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            ConfigError: A value is out of range; the message names field, value and remedy.
        """
        self._check_source()
        self._check_quotas()
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}; it must lie between 0 and 65535.")
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65535:
            raise ConfigError(
                f"metrics_port is {self.metrics_port}; it must lie between 0 and 65535."
            )
        for name in ("drain_timeout_s", "drain_delay_s", "hold_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}; it must be at least 0, and finite."
                )
        positive = (
            "max_body_bytes",
            "max_bodies_bytes",
            "max_attempts",
            "quota_store_timeout_s",
            "body_timeout_s",
            "connect_timeout_s",
            "head_timeout_s",
            "stream_idle_timeout_s",
            "slow_reader_timeout_s",
        )
        for name in (*positive, "poll_interval_s"):
            if not 0 < getattr(self, name) < math.inf:  # NaN, too, is refused
                raise ConfigError(
                    f"{name} is {getattr(self, name)}; it must be above 0, and finite."
                )

    def _check_quotas(self) -> None:
        if self.replicas is not None and self.replicas <= 0:
            raise ConfigError(f"replicas is {self.replicas}; it must be above 0.")
        if self.replicas is not None and self.replicas_service is not None:
            raise ConfigError(
                f"--replicas {self.replicas} and --replicas-service {self.replicas_service} both "
                f"say how many gateways there are; give one of them."
            )
        if self.quota_store_failure not in STORE_FAILURES:
            raise ConfigError(
                f"quota store failure is {self.quota_store_failure!r}; choose one of "
                f"{', '.join(STORE_FAILURES)}."
            )

    @property
    def source(self) -> str:
        """What is obeyed, for the log."""
        places = ", ".join(self.namespaces) or "all namespaces"
        return f"cluster, {places}" if self.kubernetes else str(self.route_table)

    def _check_source(self) -> None:
        if self.kubernetes == (self.route_table is not None):
            raise ConfigError(
                "a gateway obeys a file or a cluster: give one of --config and --kubernetes."
            )
        if not self.kubernetes and (self.namespaces or self.kubeconfig is not None):
            raise ConfigError("--namespace and --kubeconfig belong to --kubernetes; give it, too.")
