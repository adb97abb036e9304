from prometheus_client import CollectorRegistry, generate_latest

from pagelet_gateway.tenant_metrics import TenantMetrics


def lines(registry: CollectorRegistry) -> set[str]:
    text = generate_latest(registry).decode()
    return {line for line in text.splitlines() if not line.startswith("#")}


def test_series_of_who_left_go_once_nothing_is_in_flight():
    registry = CollectorRegistry()
    metrics = TenantMetrics(registry)
    metrics.begin(("m", "red"))
    metrics.reject(("m", "blue"), "rate_limit_exceeded")
    metrics.keep_only({("m", "green")})
    kept = lines(registry)
    assert any('tenant="red"' in line for line in kept)
    assert not any('tenant="blue"' in line for line in kept)
    metrics.end(("m", "red"), 5)
    assert 'pagelet_gateway_tenant_tokens_total{model="m",tenant="red"} 5.0' in lines(registry)
    metrics.keep_only({("m", "green")})
    assert not any('tenant="red"' in line for line in lines(registry))


def test_what_is_still_there_keeps_its_counts():
    registry = CollectorRegistry()
    metrics = TenantMetrics(registry)
    for _ in range(2):
        metrics.begin(("m", ""))
        metrics.end(("m", ""), 3)
        metrics.keep_only({("m", "")})
    assert 'pagelet_gateway_tenant_tokens_total{model="m",tenant=""} 6.0' in lines(registry)
    assert 'pagelet_gateway_tenant_requests_in_flight{model="m",tenant=""} 0.0' in lines(registry)
