"""Traces, at a real collector on a socket: what is told, to whose trace, and what never is."""

import http.server
import json
import subprocess
import sys
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pagelet_engine.server.tracing import TRACE_ENDPOINTS, spans_from
from pagelet_engine.testing_process import Fault
from server_client import request, stream
from server_process import echo_server

TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
GATEWAY_KEY = "gateway-key-of-this-test"
API_KEY = "api-key-of-this-test"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
OK, ERROR = 0, 2


class Collector:
    """Takes OTLP over HTTP and keeps it."""

    def __init__(self):
        self.raw = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                assert self.path == "/v1/traces"
                collector.raw.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def spans(self):
        """Return all spans with their resource's service name."""
        return [
            span
            for raw in self.raw
            for resource in ExportTraceServiceRequest.FromString(raw).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector(monkeypatch):
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    yield collector
    collector.close()


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "gateway").write_text(GATEWAY_KEY)
    (tmp_path / "keys").write_text(API_KEY)
    return {
        "gateway_key_file": str(tmp_path / "gateway"),
        "api_keys_file": str(tmp_path / "keys"),
    }


def values(span):
    found = {}
    for attribute in span.attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind)
        is_list = kind == "array_value"
        found[attribute.key] = [item.string_value for item in value.values] if is_list else value
    return found


def body(**fields):
    return {"model": "echo", "prompt": "swordfish", "max_tokens": 4} | fields


def served(*calls, **settings):
    """Serve, make the calls one after the other, stop; return what the calls returned."""
    with echo_server(**settings) as server:
        url = server.wait_ready()
        replies = [call(url) for call in calls]
        server.process.terminate()
        assert server.exit_code() == 0
        assert "swordfish" not in "".join(server.lines)
    return replies


def test_a_request_is_one_span_under_the_names_of_the_conventions(collector):
    chat = {
        "model": "echo",
        "max_tokens": 3,
        "messages": [{"role": "user", "content": "swordfish"}],
    }
    served(
        lambda url: request(url, "POST", TEXT, body(n=2), headers={"x-request-id": "mine"}),
        lambda url: request(url, "POST", CHAT, chat),
        lambda url: request(url, "GET", "/v1/models"),
    )
    text, conversation = collector.spans()
    assert (text.name, conversation.name) == ("text_completion echo", "chat echo")
    seen = values(text)
    assert seen.pop("gen_ai.response.time_to_first_chunk") > 0
    assert seen == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "pagelet",
        "gen_ai.request.model": "echo",
        "gen_ai.response.model": "echo",
        "gen_ai.request.choice.count": 2,
        "gen_ai.response.finish_reasons": ["length", "length"],
        "gen_ai.usage.input_tokens": len("swordfish"),
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.output_tokens": 8,
        "http.response.status_code": 200,
        "pagelet.request_id": "mine",
    }
    assert text.status.code == OK
    assert text.end_time_unix_nano > text.start_time_unix_nano
    assert b"swordfish" not in b"".join(collector.raw)


def test_a_stream_is_a_span_up_to_its_end_however_it_ends(collector):
    def whole(url):
        with stream(url, TEXT, body(max_tokens=20)) as events:
            assert list(events)[-1] == "[DONE]"

    served(
        whole,
        lambda url: request(url, "POST", TEXT, body(seed=int(Fault.NAN))),
        lambda url: request(url, "POST", TEXT, body(temperature="swordfish")),
    )
    streamed, broken, refused = collector.spans()
    assert values(streamed)["gen_ai.usage.output_tokens"] == 20
    assert (streamed.status.code, broken.status.code, refused.status.code) == (OK, ERROR, ERROR)
    assert values(broken)["gen_ai.response.finish_reasons"] == ["error"]
    assert values(broken)["error.type"] == "500"
    assert values(refused)["error.type"] == "400"
    assert "gen_ai.usage.input_tokens" not in values(refused)
    assert b"swordfish" not in b"".join(collector.raw)


def test_only_the_gateways_trace_is_joined(collector, keys):
    gateway = PARENT | {"x-pagelet-gateway-key": GATEWAY_KEY}
    client = PARENT | {"authorization": f"Bearer {API_KEY}"}
    damaged = gateway | {"traceparent": "00-swordfish-01"}
    served(
        *(
            lambda url, headers=headers: request(url, "POST", TEXT, body(), headers=headers)
            for headers in (gateway, client, damaged, PARENT)
        ),
        listen=keys,
    )
    joined, own, other = collector.spans()  # who has no key has no span
    assert joined.trace_id.hex() == TRACE
    assert joined.parent_span_id.hex() == "b7ad6b7169203331"
    assert TRACE not in (own.trace_id.hex(), other.trace_id.hex())
    assert own.parent_span_id == other.parent_span_id == b""
    assert b"swordfish" not in b"".join(collector.raw)


def test_a_collector_that_is_away_takes_no_answer_and_no_end_from_anybody(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    (reply,) = served(lambda url: request(url, "POST", TEXT, body()))
    assert reply.status == 200
    assert reply.json["choices"][0]["text"] == "swor"


@pytest.mark.parametrize("environment", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}])
def test_nothing_is_traced_unless_the_environment_says_where_to(environment):
    assert spans_from(environment, "m") is None


@pytest.mark.parametrize("name", TRACE_ENDPOINTS)
def test_traces_can_be_turned_off_in_one_place(name):
    assert spans_from({name: "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, "m") is None


def test_a_server_without_traces_imports_nothing_for_them():
    """Nothing that sends: the web framework imports OpenTelemetry's interfaces by itself."""
    code = (
        "import json, sys, pagelet_engine.server.run as run;"
        "assert run.spans_from({}, 'm') is None;"
        "names = ('opentelemetry.sdk', 'opentelemetry.exporter', 'google', 'requests');"
        "print(json.dumps([name for name in sys.modules if name.startswith(names)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_missing_extra_is_named_and_what_to_do():
    code = (
        "import sys; sys.modules['opentelemetry.sdk.resources'] = None;"
        "import pagelet_engine.server.run as run;"
        "run.spans_from({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:9'}, 'm')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pagelet[otel]" in done.stderr
