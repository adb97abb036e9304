"""The dashboard of all models: answers, latencies, and what is left of the month's budgets."""

from pagelet.dashboards.grafana import Board, Panel, Query
from pagelet.dashboards.queries import (
    BY_MODEL,
    ERROR_BUDGET_RATIO,
    SLOW_START_BUDGET_RATIO,
    WINDOW,
    failed,
    late,
    models,
    quantiles,
    rate,
)

FLEET = Board(
    uid="pagelet-fleet",
    title="Fleet",
    about="Every model: do users get answers, in time, and what is left of the month's budgets?",
    variables=(models("pagelet_gateway_route_weight_percent", "model"),),
    panels=(
        Panel(
            title="Requests per second",
            about="Routed requests that ended, of all models.",
            queries=(
                Query(f"sum(rate(pagelet_gateway_requests_total{{{BY_MODEL}}}[{WINDOW}]))", "all"),
            ),
            kind="stat", unit="reqps", width=6, height=4,
        ),
        Panel(
            title="Failed, last hour",
            about="Share of requests that failed by our fault. Objective: 0.5 % over 30 days.",
            queries=(Query(failed(BY_MODEL, "", "1h"), "all"),),
            kind="stat", unit="percentunit", width=6, height=4, thresholds=(0.005, 0.072),
        ),
        Panel(
            title="Streams that began late, last hour",
            about="Share whose first token took more than 2 s. Objective: 5 % over 30 days.",
            queries=(Query(late(BY_MODEL, "", "1h"), "all"),),
            kind="stat", unit="percentunit", width=6, height=4, thresholds=(0.05, 0.72),
        ),
        Panel(
            title="In flight",
            about="Requests that have begun and not ended.",
            queries=(
                Query(f"sum(pagelet_gateway_requests_in_flight{{{BY_MODEL}}})", "all"),
            ),
            kind="stat", width=6, height=4,
        ),
        Panel(
            title="Requests by model",
            about="Routed requests that ended.",
            queries=rate("pagelet_gateway_requests_total", BY_MODEL, "model", "{{model}}"),
            unit="reqps",
        ),
        Panel(
            title="Failed by model",
            about="Share of requests that failed by our fault: 5xx, no answer, time-outs, cut.",
            queries=(Query(failed(BY_MODEL, "model", WINDOW), "{{model}}"),),
            unit="percentunit", thresholds=(0.005, 0.072),
        ),
        Panel(
            title="Burn of the error budget",
            about="How many times faster than allowed the month's failures are used up; 14.4 for "
            "an hour pages.",
            queries=(
                Query(f"({failed(BY_MODEL, 'model', '1h')}) / {ERROR_BUDGET_RATIO}",
                      "1h {{model}}"),
                Query(f"({failed(BY_MODEL, 'model', '6h')}) / {ERROR_BUDGET_RATIO}",
                      "6h {{model}}"),
            ),
            thresholds=(6, 14.4),
        ),
        Panel(
            title="Burn of the budget of late starts",
            about="As beside, for streams whose first token took more than 2 s.",
            queries=(
                Query(f"({late(BY_MODEL, 'model', '1h')}) / {SLOW_START_BUDGET_RATIO}",
                      "1h {{model}}"),
                Query(f"({late(BY_MODEL, 'model', '6h')}) / {SLOW_START_BUDGET_RATIO}",
                      "6h {{model}}"),
            ),
            thresholds=(6, 14.4),
        ),
        Panel(
            title="Time to first token by model",
            about="From a request's arrival at the gateway to its first token, streams only.",
            queries=quantiles(
                "pagelet_gateway_time_to_first_token_seconds", BY_MODEL, "model", "{{model}}"
            ),
            unit="s",
        ),
        Panel(
            title="Time between tokens by model",
            about="Gap between the events of a stream after its first token.",
            queries=quantiles(
                "pagelet_gateway_inter_token_latency_seconds", BY_MODEL, "model", "{{model}}"
            ),
            unit="s",
        ),
        Panel(
            title="Refused by the gateway",
            about="Requests the gateway answered itself, by error code: caps, quotas, keys, drain.",
            queries=rate("pagelet_gateway_rejected_total", "", "reason", "{{reason}}"),
            unit="reqps", may_be_empty=True,
        ),
        Panel(
            title="Gateways obey a table",
            about="1 while a gateway follows a kind of object; 0 while its last table serves.",
            queries=(
                Query("min by (instance, kind) (pagelet_gateway_source_watching)",
                      "{{instance}} {{kind}}"),
                Query("sum by (instance) (pagelet_gateway_route_table_models)",
                      "{{instance}} models"),
            ),
        ),
    ),
)  # fmt: skip
