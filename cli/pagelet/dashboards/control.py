"""The dashboard of the operator: whether it works, and what it says of each model."""

from pagelet.dashboards.grafana import Board, Panel, Query, Variable
from pagelet.dashboards.queries import BY_RESOURCE, QUANTILES, WINDOW, gauge, rate

OPERATOR = Board(
    uid="pagelet-operator",
    title="Operator",
    about="Does the control plane work, and what does it say of each model?",
    variables=(
        Variable(
            name="namespace", label="Namespace",
            query="label_values(pagelet_operator_phase, namespace)",
        ),
        Variable(
            name="name", label="ModelDeployment",
            query='label_values(pagelet_operator_phase{namespace=~"$namespace"}, name)',
        ),
    ),
    panels=(
        Panel(
            title="Conditions that ask for somebody",
            about="Not accepted, not applied, not ready, stalled, or no load test speaks for it.",
            queries=(
                Query(
                    f"pagelet_operator_condition{{{BY_RESOURCE},"
                    'condition=~"Accepted|Applied|Ready|PerformanceValidated|TrafficShaped",'
                    'status="False"} '
                    f'or pagelet_operator_condition{{{BY_RESOURCE},condition="Stalled",'
                    'status="True"}',
                ),
            ),
            kind="table", width=24, may_be_empty=True,
        ),
        Panel(
            title="Phase",
            about="Where each rollout stands.",
            queries=(
                Query(f"pagelet_operator_phase{{{BY_RESOURCE}}} == 1",
                      "{{namespace}}/{{name}} {{phase}}"),
            ),
            kind="table",
        ),
        Panel(
            title="Weights asked for",
            about="Traffic that stable and canary are meant to get.",
            queries=gauge(
                "pagelet_operator_requested_weight_percent", BY_RESOURCE, "namespace, name, role",
                "{{namespace}}/{{name}} {{role}}", "max",
            ),
            unit="percent",
        ),
        Panel(
            title="Verdicts",
            about="What the last look at a canary said.",
            queries=(
                Query(f"pagelet_operator_verdict{{{BY_RESOURCE}}} == 1",
                      "{{namespace}}/{{name}} {{verdict}}"),
            ),
            kind="table", may_be_empty=True,
        ),
        Panel(
            title="Since the last reconcile that succeeded",
            about="Every resource is looked at each 5 minutes, even if nothing changes.",
            queries=(
                Query(
                    "time() - max by (namespace, name) "
                    f"(pagelet_operator_last_success_timestamp_seconds{{{BY_RESOURCE}}})",
                    "{{namespace}}/{{name}}",
                ),
            ),
            unit="s", thresholds=(600, 900),
        ),
        Panel(
            title="Time of a reconcile",
            about="From reading the resource to writing its status.",
            queries=(
                *(
                    Query(
                        f"histogram_quantile({q}, sum by (le) "
                        f"(rate(pagelet_operator_reconcile_seconds_bucket[{WINDOW}])))",
                        name,
                    )
                    for q, name in QUANTILES
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Reconciles and writes per second",
            about="In a steady state there are reconciles and no writes.",
            queries=(
                Query(f"sum(rate(pagelet_operator_reconcile_seconds_count[{WINDOW}]))",
                      "reconciles"),
                Query(f"sum(rate(pagelet_operator_writes_total[{WINDOW}]))", "writes"),
            ),
        ),
        Panel(
            title="Reconciles that ended early",
            about="Unavailable: the API server; Conflict: somebody else wrote; Bug: ours.",
            queries=rate("pagelet_operator_reconcile_errors_total", "", "kind", "{{kind}}"),
        ),
        Panel(
            title="Who works",
            about="1 for the operator that works, 0 for those that stand by.",
            queries=gauge("pagelet_operator_works", "", "instance", "{{instance}}", "max"),
        ),
        Panel(
            title="Queue",
            about="Resources that wait, due or not.",
            queries=(Query("sum(pagelet_operator_queue_length)", "resources"),),
        ),
    ),
)  # fmt: skip
