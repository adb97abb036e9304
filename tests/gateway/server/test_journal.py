"""What is written of a request, at a real gateway's log and at a real collector."""

import asyncio
import http.server
import json
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway_process import GatewayProcess, model, post, until
from gateway_upstream import Upstream, Wire, event, refuses_to_drain

PATH = "/v1/chat/completions"
SECRET = "the prompt nobody may read"
TRACE = "0af7651916cd43dd8448eb211c80319c"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'


async def counts(wire: Wire) -> None:
    """A stream of two tokens that says what it used."""
    await wire.start_stream()
    await wire.part(event("tell ") + event("nobody"))
    await asyncio.sleep(0.05)
    await wire.part(USAGE)
    await wire.end_stream()


def asks(name: str) -> dict:
    return {"model": name, "stream": True, "messages": [{"role": "user", "content": SECRET}]}


def wait_line(gateway: GatewayProcess, request_id: str) -> dict:
    """The one line of a request."""
    for count in range(1, 1000):
        line = gateway.wait_log("request", count)
        if line["request_id"] == request_id:
            return line
    raise AssertionError(request_id)


async def test_a_line_tells_all_but_what_was_said(gateway, session):
    async with Upstream(refuses_to_drain) as leaving, Upstream(counts) as engine:
        gateway.apply(model("told", {"told-1": (100, [leaving.url, engine.url])}))
        await post(session, gateway.url + PATH, asks("told"), x_request_id="told")
        line = await asyncio.to_thread(wait_line, gateway, "told")
        assert line["status"] == 200
        assert (line["model"], line["revision"], line["outcome"]) == ("told", "told-1", "ok")
        assert (line["prompt_tokens"], line["output_tokens"]) == (7, 2)
        assert line["attempts"] in (1, 2)
        assert 0 < line["ttft_s"] < line["duration_s"]
        assert SECRET not in json.dumps(gateway.log("request"))
        assert "nobody" not in json.dumps(gateway.log("request"))


async def test_a_refusal_is_a_line_with_its_code_and_probes_are_none(gateway, session):
    async with Upstream() as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        async with session.get(gateway.url + "/readyz") as answer:
            assert answer.status == 200
        await post(session, gateway.url + PATH, asks("stranger"), x_request_id="refused")
        line = await asyncio.to_thread(wait_line, gateway, "refused")
        assert (line["status"], line["code"]) == (404, "model_not_found")
        assert "stranger" not in json.dumps(line), "a name only a client uttered"
        assert {entry["path"] for entry in gateway.log("request")} == {PATH}


async def test_a_client_that_leaves_has_its_line(gateway, session):
    async def thinks(wire: Wire) -> None:
        await asyncio.sleep(60)

    async with Upstream(thinks) as engine:
        gateway.apply(model("left", {"left-1": (100, [engine.url])}))
        ask = asyncio.create_task(
            post(session, gateway.url + PATH, asks("left"), x_request_id="left")
        )
        await until(lambda: bool(engine.received))
        ask.cancel()
        line = await asyncio.to_thread(wait_line, gateway, "left")
        assert (line["status"], line["outcome"]) == (0, "client_gone")


async def test_the_lines_can_be_turned_off(session, tmp_path):
    with GatewayProcess(tmp_path, "--no-access-log") as gateway:
        async with Upstream() as engine:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            await post(session, gateway.url + PATH, asks("m"))
        assert gateway.stop() == 0
        assert gateway.log("request") == []


@pytest.fixture
def collector(monkeypatch):
    """Takes OTLP over HTTP on a socket; a list of what came."""
    taken: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    yield taken
    server.shutdown()
    server.server_close()
    thread.join()


def spans_of(taken: list[bytes]) -> list:
    return [
        span
        for raw in taken
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def test_a_span_stands_between_the_clients_and_the_engines(collector, session, tmp_path):
    with GatewayProcess(tmp_path) as gateway:
        async with Upstream(counts) as engine:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            parent = f"00-{TRACE}-b7ad6b7169203331-01"
            await post(session, gateway.url + PATH, asks("m"), traceparent=parent)
            await post(session, gateway.url + PATH, asks("stranger"))
            passed_on = engine.received[0].headers["traceparent"]
        assert await asyncio.to_thread(gateway.stop) == 0
    told, refused = sorted(spans_of(collector), key=lambda span: span.start_time_unix_nano)
    assert passed_on == f"00-{TRACE}-{told.span_id.hex()}-01"
    assert (told.trace_id.hex(), told.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")
    assert told.name == "chat m"
    found = {each.key: each.value for each in told.attributes}
    assert found["gen_ai.request.model"].string_value == "m"
    assert found["gen_ai.usage.output_tokens"].int_value == 2
    assert found["http.response.status_code"].int_value == 200
    errors = {each.key: each.value.string_value for each in refused.attributes}
    assert errors["error.type"] == "model_not_found"
    assert SECRET not in str(told)
    assert "stranger" not in str(refused)
