import pytest
import structlog
from prometheus_client import CollectorRegistry

from pagelet_gateway.errors import ConfigError
from pagelet_gateway.server.quota_opening import open_quotas
from pagelet_gateway.server.quota_store import StoredQuotas
from pagelet_gateway.server.quotas import LocalQuotas
from pagelet_gateway.tenant_metrics import TenantMetrics

USUAL = {"replicas": 1, "service": None, "store": None, "on_failure": "local", "timeout_s": 1}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, LocalQuotas),
        ({"service": "localhost"}, LocalQuotas),
        ({"store": "redis://127.0.0.1:1/0"}, StoredQuotas),
    ],
)
async def test_quotas_are_kept_where_configured(fields, kind):
    async with open_quotas(TenantMetrics(CollectorRegistry()), **{**USUAL, **fields}) as quotas:
        assert isinstance(quotas, kind)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"store": "mysql://root:secret@h"}, "must be redis://"),
        ({"store": "redis://:secret@h", "on_failure": "maybe"}, "local, open, closed"),
    ],
)
async def test_what_cannot_be_is_refused_without_repeating_a_password(fields, part):
    with pytest.raises(ConfigError, match=part) as refusal:
        async with open_quotas(TenantMetrics(CollectorRegistry()), **{**USUAL, **fields}):
            pass
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "warns"),
    [({}, True), ({"replicas": 2}, False), ({"service": "localhost"}, False),
     ({"on_failure": "closed"}, False)],
)  # fmt: skip
async def test_a_store_beside_one_assumed_gateway_is_warned_of(fields, warns):
    told = {**USUAL, "store": "redis://127.0.0.1:1/0", **fields}
    with structlog.testing.capture_logs() as logs:
        async with open_quotas(TenantMetrics(CollectorRegistry()), **told):
            pass
    assert any("not shared" in entry["event"] for entry in logs) is warns
