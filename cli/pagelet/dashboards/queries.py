"""Expressions that several dashboards ask, and the labels they choose by."""

from pagelet.dashboards.grafana import Query, Variable

WINDOW = "$__rate_interval"
OURS = 'outcome=~"upstream_error|unavailable|timeout|cut|bug"'
COUNTED = 'outcome!~"client_gone|client_error"'
QUANTILES = (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
BY_MODEL = 'model=~"$model"'
BY_ENGINE = 'model_name=~"$model"'
BY_RESOURCE = 'namespace=~"$namespace",name=~"$name"'

ERROR_BUDGET_RATIO = 0.005
SLOW_START_BUDGET_RATIO = 0.05
"""The objectives of charts/pagelet/files/rules.yaml."""


def quantiles(series: str, labels: str, by: str, legend: str) -> tuple[Query, ...]:
    """Return p50, p95 and p99 of a histogram, a line each per `by`."""
    return tuple(
        Query(
            f"histogram_quantile({q}, sum by (le, {by}) "
            f"(rate({series}_bucket{{{labels}}}[{WINDOW}])))",
            f"{name} {legend}",
        )
        for q, name in QUANTILES
    )


def rate(series: str, labels: str, by: str, legend: str) -> tuple[Query, ...]:
    """Return what a counter grows by per second."""
    return (Query(f"sum by ({by}) (rate({series}{{{labels}}}[{WINDOW}]))", legend),)


def gauge(series: str, labels: str, by: str, legend: str, how: str = "sum") -> tuple[Query, ...]:
    """Return a gauge, put together by `how`."""
    return (Query(f"{how} by ({by}) ({series}{{{labels}}})", legend),)


def failed(labels: str, by: str, window: str) -> str:
    """Return the share of requests that failed by our fault; 0 where none did."""
    series = "pagelet_gateway_requests_total"
    return (
        f"(sum by ({by}) (rate({series}{{{labels},{OURS}}}[{window}])) "
        f"or 0 * sum by ({by}) (rate({series}{{{labels}}}[{window}]))) "
        f"/ (sum by ({by}) (rate({series}{{{labels},{COUNTED}}}[{window}])) > 0)"
    )


def late(labels: str, by: str, window: str) -> str:
    """Return the share of streams whose first token took more than 2 s; absent without streams."""
    series = "pagelet_gateway_time_to_first_token_seconds"
    return (
        f'1 - sum by ({by}) (rate({series}_bucket{{{labels},le="2.0"}}[{window}])) '
        f"/ (sum by ({by}) (rate({series}_count{{{labels}}}[{window}])) > 0)"
    )


def models(series: str, label: str) -> Variable:
    """Return the choice of models that a series knows."""
    return Variable(name="model", label="Model", query=f"label_values({series}, {label})")
