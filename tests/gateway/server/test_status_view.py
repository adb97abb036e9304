import time

from gateway_process import model, table
from pagelet_gateway.core.breaker import State
from pagelet_gateway.core.router import Router, Target
from pagelet_gateway.live_table import LiveTable
from pagelet_gateway.metrics import FALLBACK, Metrics, Outcome
from pagelet_gateway.server.status_view import StatusReader, StatusView

A, B = "http://10.0.0.1:1", "http://10.0.0.2:1"
ROLLOUT = {"phase": "Progressing", "assessment": {"verdict": "Pass", "message": "alike"}}


def reader(*names: str) -> StatusReader:
    router, metrics = Router(), Metrics()
    models = [
        model(name, {f"{name}-1": (90, [A]), f"{name}-2": (10, [B])}, rollout=ROLLOUT)
        for name in names
    ]
    LiveTable(router, metrics).offer(table(*models))
    return StatusReader(router, metrics)


def one(view: StatusView):
    (shown,) = view.models
    return shown


def test_before_the_first_table_nothing_is_known():
    view = StatusReader(Router(), Metrics()).view(limit=5)
    assert (view.has_table, view.models) == (False, ())


def test_a_revision_shows_what_its_metrics_say():
    read = reader("m")
    metrics, router = read.metrics, read.router
    metrics.begin("m", "m-2")
    metrics.shares.count("m", "m-2")
    metrics.ttft.labels("m", "m-2").observe(0.3)
    metrics.itl.labels("m", "m-2").observe(0.03)
    for outcome in (Outcome.OK, Outcome.TIMEOUT):
        metrics.count_end("m", "m-2", outcome, time.monotonic())
    router.loaded(B, waiting=4, running=9, now=time.monotonic())
    metrics.crowds.watch(lambda now: {}, lambda: [(("m", "m-2"), 3)])
    stable, canary = one(read.view(limit=5)).revisions
    assert (canary.role, canary.weight_percent, canary.num_endpoints) == ("canary", 10, 1)
    assert (canary.share, canary.in_flight, canary.queue, canary.held) == (1.0, 1, 4, 3)
    assert (canary.num_ended, canary.num_failed) == (2, 1)
    assert 0.2 < canary.ttft_p99_s <= 0.35
    assert 0.02 < canary.itl_p99_s <= 0.03
    assert (stable.share, stable.ttft_p99_s, stable.queue) == (None, None, None)


def test_an_open_circuit_and_an_ejected_endpoint_are_shown():
    read = reader("m")
    guard, now = read.router.guard, time.monotonic()
    key = Target("m-2", B, False, "m").key
    for _ in range(5):
        guard.enter_circuit(key, now, now + 9).fail(now)
        guard.enter_endpoint(key, B, now, now + 9).fail(now)
    stable, canary = one(read.view(limit=5)).revisions
    assert (canary.circuit, stable.circuit) == (State.OPEN, State.CLOSED)


def test_the_operators_words_come_with_the_model():
    shown = one(reader("m").view(limit=5))
    assert (shown.standing.phase, shown.standing.why) == ("Progressing", "alike")


def test_what_a_fallback_answers_has_a_row_of_its_own():
    read = reader("m")
    assert len(one(read.view(limit=5)).revisions) == 2
    read.metrics.count_end("m", FALLBACK, Outcome.OK, time.monotonic())
    *_, last = one(read.view(limit=5)).revisions
    assert (last.name, last.weight_percent, last.num_endpoints) == (FALLBACK, None, None)
    assert (last.num_ended, last.queue, last.circuit) == (1, None, State.CLOSED)


def test_models_are_found_by_a_part_of_their_name_and_counted_beyond_the_limit():
    read = reader("b-Chat", "a-chat", "code")
    assert [m.name for m in read.view("CHAT", limit=5).models] == ["a-chat", "b-Chat"]
    view = read.view("chat", limit=1)
    assert ([m.name for m in view.models], view.num_more) == (["a-chat"], 1)


async def test_p99s_are_of_the_last_minute():
    read = reader("m")
    read.metrics.ttft.labels("m", "m-1").observe(30.0)
    for _ in range(2):  # the second reading is what is looked back to
        await read._read_histograms()
    long_ago = read._recent._readings["ttft", ("m", "m-1")]
    long_ago[:] = [(at - 55.0, counts) for at, counts in long_ago]
    read.metrics.ttft.labels("m", "m-1").observe(0.3)
    assert one(read.view(limit=5)).revisions[0].ttft_p99_s < 0.35
