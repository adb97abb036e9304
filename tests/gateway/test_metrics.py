from prometheus_client.parser import text_string_to_metric_families

from pagelet_gateway.metrics import Metrics, Outcome

IN_FLIGHT = "pagelet_gateway_requests_in_flight[('model', 'm'), ('revision', 'old')]"


def test_every_series_has_the_prefix_help_and_a_unit_or_total():
    metrics = Metrics()
    metrics.set_routes({("m", "m-1"): (100, 3)})
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert len(families) >= 15
    for family in families:
        assert family.name.startswith("pagelet_gateway_")
        assert family.documentation.endswith(".")


def samples(metrics: Metrics) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def test_a_departed_revision_is_forgotten_one_table_later_and_once_it_is_idle():
    metrics = Metrics()
    metrics.set_routes({("m", "old"): (100, 1)})
    metrics.begin("m", "old")
    metrics.requests.labels("m", "old", Outcome.OK).inc()
    metrics.itl.labels("m", "old").observe(0.1)
    metrics.ttft.labels("m", "old").observe(0.1)
    metrics.prompt_tokens.labels("m", "old").observe(300)
    metrics.output_tokens.labels("m", "old").observe(20)
    new = {("m", "new"): (100, 3)}

    def is_told() -> bool:
        return any("'old'" in key for key in samples(metrics))

    for _ in range(3):
        metrics.set_routes(new)
        assert is_told()  # a request is in flight on it
    metrics.end("m", "old")
    assert samples(metrics)[IN_FLIGHT] == 0
    metrics.set_routes(new)
    assert not is_told()
    assert samples(metrics)["pagelet_gateway_route_generation[('model', 'm')]"] == 3


def test_the_counters_of_a_revision_outlive_the_table_it_left_with():
    metrics = Metrics()
    metrics.set_routes({("m", "old"): (100, 1)})
    metrics.begin("m", "old")
    metrics.end("m", "old")
    metrics.set_routes({("m", "new"): (100, 2)})
    assert IN_FLIGHT in samples(metrics)
    metrics.set_routes({("m", "new"): (100, 3)})
    assert IN_FLIGHT not in samples(metrics)


def test_failures_are_counted_apart_and_clients_errors_are_none():
    metrics = Metrics()
    for outcome in Outcome:
        metrics.count_end("m", "m-1", outcome, now=1.0)
    assert metrics.ended.counts(1.0) == {("m", "m-1"): len(Outcome)}
    assert metrics.failed.counts(1.0) == {("m", "m-1"): 5}
    ok = "pagelet_gateway_requests_total[('model', 'm'), ('outcome', 'ok'), ('revision', 'm-1')]"
    assert samples(metrics)[ok] == 1
