"""The server process from start to exit: probes, signals, exit codes, the engine's death."""

import json
import os
import select
import signal
import socket

import pytest

from pagelet_engine.config import EngineConfig
from pagelet_engine.server.run import served_model_name
from pagelet_engine.testing_process import Fault
from server_client import request, stream, text_of
from server_process import echo_server

TEXT = "/v1/completions"
SLOW = ("--step-seconds", "0.02")


def body(**fields):
    return {"model": "echo", "prompt": "hello", "max_tokens": 60} | fields


def test_requests_are_refused_until_the_model_has_loaded(tmp_path):
    os.mkfifo(model := tmp_path / "model")
    with echo_server("--load-from", str(model)) as server:
        url = server.wait_listening()
        server.wait_for("stage")
        assert request(url, "GET", "/livez").status == 200
        assert request(url, "GET", "/readyz").status == 503
        starting = request(url, "GET", "/startupz")
        assert (starting.status, starting.json) == (503, {"stage": "loading weights"})
        refused = request(url, "POST", TEXT, body())
        assert (refused.status, refused.json["error"]["code"]) == (503, "server_starting")
        assert int(refused.headers["retry-after"]) >= 1
        model.write_bytes(b"")
        server.wait_ready()
        assert request(url, "GET", "/readyz").status == 200
        assert request(url, "GET", "/startupz").json == {"stage": "ready"}
        assert request(url, "POST", TEXT, body()).status == 200


def test_a_server_told_to_stop_while_loading_stops():
    with echo_server("--load-seconds", "3600") as server:
        server.wait_listening()
        server.wait_for("stage")
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0


def test_a_server_told_to_stop_does_not_wait_for_a_model_that_is_slow_to_read(tmp_path):
    os.mkfifo(tmp_path / "tokenizer.json")  # reading it would wait for a writer, for ever
    (tmp_path / "config.json").write_text("{}")
    with echo_server(model={"model": str(tmp_path)}) as server:
        server.wait_listening()
        server.wait_for("stage")
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_open_streams_finish_while_new_requests_are_sent_elsewhere(number):
    with echo_server(*SLOW) as server:
        url = server.wait_ready()
        with stream(url, TEXT, body()) as events:
            seen = [next(events)]
            server.signal(number)
            server.wait_for("draining")
            assert request(url, "GET", "/readyz").status == 503
            assert request(url, "GET", "/livez").status == 200
            refused = request(url, "POST", TEXT, body())
            assert (refused.status, refused.json["error"]["code"]) == (503, "server_draining")
            assert refused.headers["x-pagelet-draining"] == "1"
            assert refused.headers["x-should-retry"] == "true"
            assert refused.headers["retry-after"] == "1"
            seen += events
        assert text_of(seen) == "hello" * 12
        assert seen[-1] == "[DONE]"
        assert server.exit_code() == 0


def test_a_signal_to_every_process_drains_like_one_to_the_server():
    with echo_server(*SLOW) as server:
        url = server.wait_ready()
        with stream(url, TEXT, body()) as events:
            seen = [next(events)]
            for child in server.children():
                os.kill(child, signal.SIGTERM)
            server.signal(signal.SIGTERM)
            seen += events
        assert text_of(seen) == "hello" * 12
        assert seen[-1] == "[DONE]"
        assert server.exit_code() == 0


def test_the_engine_process_ends_with_the_server():
    with echo_server() as server:
        server.wait_ready()
        (engine,) = server.children()
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        with pytest.raises(ProcessLookupError):
            os.kill(engine, 0)


def test_streams_that_outlast_the_drain_end_in_an_error_and_never_in_done():
    with echo_server(*SLOW, listen={"drain_timeout_s": 0.1}) as server:
        url = server.wait_ready()
        with stream(url, TEXT, body(max_tokens=1000)) as events:
            next(events)
            server.signal(signal.SIGTERM)
            *_, last = events
        assert json.loads(last)["error"]["code"] == "service_unavailable"
        assert server.exit_code() == 1


def test_a_second_signal_does_not_wait():
    with echo_server(*SLOW) as server:
        url = server.wait_ready()
        with stream(url, TEXT, body(max_tokens=1000)) as events:
            next(events)
            server.signal(signal.SIGTERM)
            server.wait_for("draining")
            server.signal(signal.SIGTERM)
            *_, last = events
        assert "error" in json.loads(last)
        assert server.exit_code() == 1


def test_a_killed_engine_breaks_streams_loudly_and_ends_the_server():
    with echo_server(*SLOW) as server:
        url = server.wait_ready()
        (engine,) = server.children()
        with stream(url, TEXT, body(max_tokens=1000)) as events:
            next(events)
            os.kill(engine, signal.SIGKILL)
            *_, last = events
        assert json.loads(last)["error"]["code"] == "service_unavailable"
        assert "SIGKILL" in server.wait_for("engine_died")["reason"]
        assert server.exit_code() == 1


def test_an_engine_that_dies_before_the_first_token_is_a_503_object():
    with echo_server(*SLOW) as server:
        url = server.wait_ready()
        reply = request(url, "POST", TEXT, body(seed=int(Fault.DIE_AT_ONCE)))
        assert (reply.status, reply.json["error"]["code"]) == (503, "service_unavailable")
        assert server.exit_code() == 1


def test_an_orphaned_engine_ends_by_itself():
    with echo_server() as server:
        server.wait_ready()
        (engine,) = server.children()
        # A pidfd turns readable when the process has ended, whoever its parent is by then.
        handle = os.pidfd_open(engine)
        try:
            server.process.kill()
            assert select.select([handle], [], [], 30)[0]
        finally:
            os.close(handle)


def test_a_taken_port_is_told_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with echo_server(listen={"port": port}) as server:
            assert server.exit_code() == 2
            assert f"127.0.0.1:{port}" in server.lines[-1]
            assert "--port" in server.lines[-1]


def test_an_engine_that_blames_the_configuration_ends_the_server_with_its_sentence():
    with echo_server("--fatal", "too long for the cache", "--fatal-is-config") as server:
        assert server.exit_code() == 2
        assert server.lines[-1] == "pagelet serve: too long for the cache\n"


def test_an_engine_that_fails_to_start_ends_the_server_with_1():
    with echo_server("--fatal", "boom") as server:
        assert server.exit_code() == 1
        assert server.lines[-1] == "pagelet serve: boom\n"


def test_a_missing_model_file_is_named():
    with echo_server(model={"model": "/nonexistent/model.gguf"}) as server:
        assert server.exit_code() == 2
        assert "/nonexistent/model.gguf" in server.lines[-1]


def test_a_clients_request_id_is_repeated_if_harmless():
    with echo_server() as server:
        url = server.wait_ready()
        for given, kept in [("abc-1.2:3_4", True), ("a b", False), ("x" * 65, False), ("ä", False)]:
            headers = {"x-request-id": given.encode("utf-8").decode("latin-1")}
            seen = request(url, "GET", "/readyz", headers=headers).headers["x-request-id"]
            assert (seen == given) is kept
            assert seen.startswith("req_") is not kept
        ids = {request(url, "GET", "/x").headers["x-request-id"] for _ in range(3)}
        assert len(ids) == 3


def test_no_text_of_a_request_is_logged():
    with echo_server() as server:
        url = server.wait_ready()
        request(url, "POST", TEXT, body(prompt="swordfish"))
        request(url, "POST", TEXT, body(prompt="swordfish", temperature="swordfish"))
        request(url, "POST", TEXT, body(prompt="swordfish", seed=int(Fault.NAN)))
        request(url, "POST", TEXT, body(swordfish="swordfish"), headers={"x-a": "swordfish"})
        request(url, "POST", TEXT, body(), headers={"authorization": "Bearer swordfish"})
        request(url, "POST", TEXT, raw=b'{"prompt": "swordfish')
        request(url, "GET", "/v1/models/swordfish")
        with stream(url, TEXT, body(prompt="swordfish", max_tokens=1000)) as events:
            next(events)
        assert b"swordfish" not in request(url, "GET", "/metrics").body
        server.signal(signal.SIGTERM)
        server.exit_code()
        assert "swordfish" not in "".join(server.lines)


def test_the_model_is_called_after_its_file_unless_named():
    assert served_model_name(EngineConfig(model="package://a/b-c.gguf")) == "b-c"
    assert served_model_name(EngineConfig(model="hf://org/repo")) == "repo"
    assert served_model_name(EngineConfig(model="/srv/x/")) == "x"
    assert served_model_name(EngineConfig(model="x", served_model_name="y")) == "y"
