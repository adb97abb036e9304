"""The dashboard of one model: canary against stable."""

from pagelet.dashboards.grafana import Board, Panel, Query, Variable
from pagelet.dashboards.queries import BY_MODEL, OURS, gauge, quantiles, rate

MODEL = Board(
    uid="pagelet-model",
    title="One model",
    about="Canary against stable: who gets how much, and how users fare with either.",
    variables=(
        Variable(
            name="model", label="Model", all=False,
            query="label_values(pagelet_gateway_route_weight_percent, model)",
        ),
    ),
    panels=(
        Panel(
            title="Revisions and their roles",
            about="Which revision serves and which is on trial.",
            queries=(
                Query('pagelet_operator_revision_info{model=~"$model"}', "{{role}} {{revision}}"),
            ),
            kind="table", width=12, height=6, may_be_empty=True,
        ),
        Panel(
            title="Phase and verdict",
            about="Where the rollout stands, and what the last look at the canary said.",
            queries=(
                Query(
                    "(pagelet_operator_phase == 1) * on (namespace, name) group_left () "
                    'max by (namespace, name) (pagelet_operator_revision_info{model=~"$model"})',
                    "{{phase}}",
                ),
                Query(
                    "(pagelet_operator_verdict == 1) * on (namespace, name) group_left () "
                    'max by (namespace, name) (pagelet_operator_revision_info{model=~"$model"})',
                    "{{verdict}}",
                ),
            ),
            kind="stat", width=12, height=6, may_be_empty=True,
        ),
        Panel(
            title="Weight asked for",
            about="Share of the model's requests that the route table asks for.",
            queries=gauge(
                "pagelet_gateway_route_weight_percent", BY_MODEL, "revision", "{{revision}}", "max"
            ),
            unit="percent",
        ),
        Panel(
            title="Share observed",
            about="Share of the model's requests that a revision answered in the last minute.",
            queries=(
                Query(
                    f"avg by (revision) (pagelet_gateway_observed_share_ratio{{{BY_MODEL}}})",
                    "{{revision}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            title="Time to first token by revision",
            about="p50, p95 and p99 as users feel them; the canary is judged by the same series.",
            queries=quantiles(
                "pagelet_gateway_time_to_first_token_seconds", BY_MODEL, "revision", "{{revision}}"
            ),
            unit="s",
        ),
        Panel(
            title="Time between tokens by revision",
            about="p50, p95 and p99 as users feel them; the canary is judged by the same series.",
            queries=quantiles(
                "pagelet_gateway_inter_token_latency_seconds", BY_MODEL, "revision", "{{revision}}"
            ),
            unit="s",
        ),
        Panel(
            title="Requests by revision and outcome",
            about="Routed requests that ended.",
            queries=rate(
                "pagelet_gateway_requests_total", BY_MODEL, "revision, outcome",
                "{{revision}} {{outcome}}",
            ),
            unit="reqps",
        ),
        Panel(
            title="Failed requests by revision and outcome",
            about="By our fault: 5xx, no answer, out of time, broken off.",
            queries=rate(
                "pagelet_gateway_requests_total", f"{BY_MODEL},{OURS}", "revision, outcome",
                "{{revision}} {{outcome}}",
            ),
            unit="reqps", may_be_empty=True,
        ),
        Panel(
            title="Time-outs by revision and phase",
            about="Requests whose time was up, by what they waited for.",
            queries=rate(
                "pagelet_gateway_timeouts_total", BY_MODEL, "revision, phase",
                "{{revision}} {{phase}}",
            ),
            unit="reqps", may_be_empty=True,
        ),
        Panel(
            title="Fallbacks by reason",
            about="Attempts at another model or API, by what failed.",
            queries=rate("pagelet_gateway_fallbacks_total", BY_MODEL, "to, reason",
                          "{{to}}: {{reason}}"),
            unit="reqps", may_be_empty=True,
        ),
        Panel(
            title="Handed over and tried again",
            about="Requests dealt to a revision that another answered, and further attempts.",
            queries=(
                *rate("pagelet_gateway_handed_over_total", BY_MODEL, "revision",
                       "handed over by {{revision}}"),
                *rate("pagelet_gateway_retries_total", BY_MODEL, "reason", "again: {{reason}}"),
            ),
            unit="reqps", may_be_empty=True,
        ),
        Panel(
            title="Circuits and ejected endpoints",
            about="0 closed, 1 half-open, 2 open; and how many engines get nothing.",
            queries=(
                *gauge("pagelet_gateway_breaker_state", BY_MODEL, "revision",
                        "circuit {{revision}}", "max"),
                *gauge("pagelet_gateway_endpoints_ejected", BY_MODEL, "revision",
                        "ejected {{revision}}", "max"),
            ),
        ),
    ),
)  # fmt: skip
