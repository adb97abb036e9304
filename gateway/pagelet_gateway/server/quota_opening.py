"""Opens what keeps the quotas: this gateway's own accounts, or a common store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from pagelet_gateway.errors import ConfigError
from pagelet_gateway.server.quotas import LocalQuotas, Quotas
from pagelet_gateway.server.replicas import Replicas
from pagelet_gateway.tenant_metrics import TenantMetrics

log = structlog.get_logger("pagelet.gateway")


@contextlib.asynccontextmanager
async def open_quotas(
    metrics: TenantMetrics,
    *,
    replicas: int,
    service: str | None,
    store: str | None,
    on_failure: str,
    timeout_s: float,
) -> AsyncIterator[Quotas]:
    """Keep quotas inside the block.

    Args:
        metrics: Counts the store's failures.
        replicas: How many gateways are live, while `service` does not say.
        service: Name whose addresses are counted as replicas.
        store: URL of a Valkey or Redis server; None for a share per replica.
        on_failure: What holds while the store is gone; an `OnFailure`.
        timeout_s: Longest wait for the store.

    Raises:
        ConfigError: The store cannot be used as configured.
    """
    counted = Replicas(replicas, service)
    local = LocalQuotas(counted.count)
    counting = asyncio.create_task(counted.run())
    try:
        if store is None:
            yield local
            return
        if on_failure == "local" and replicas == 1 and service is None:
            log.warning(
                "quotas are not shared while the store is gone",
                reason="one gateway is assumed, which then admits every quota whole",
                remedy="with more gateways give --replicas or --replicas-service",
            )
        async with _stored(local, metrics, store, on_failure, timeout_s) as quotas:
            yield quotas
    finally:
        counting.cancel()


@contextlib.asynccontextmanager
async def _stored(
    local: LocalQuotas, metrics: TenantMetrics, url: str, on_failure: str, timeout_s: float
) -> AsyncIterator[Quotas]:
    try:
        from pagelet_gateway.server.quota_store import OnFailure, StoredQuotas
    except ModuleNotFoundError:
        raise ConfigError(
            "--quota-store needs the extra gateway-redis: pip install 'pagelet[gateway-redis]'."
        ) from None
    if on_failure not in tuple(OnFailure):
        choices = ", ".join(OnFailure)
        raise ConfigError(f"quota store failure is {on_failure!r}; choose one of {choices}.")
    try:
        chosen = OnFailure(on_failure)
        quotas = StoredQuotas(url, chosen, local, metrics.store_errors, timeout_s=timeout_s)
    except ValueError:  # its message would repeat the URL, and a password with it
        raise ConfigError(
            "the quota store's URL must be redis://HOST:PORT/DB, rediss:// or unix://."
        ) from None
    try:
        yield quotas
    finally:
        await quotas.close()
