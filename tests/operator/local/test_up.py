"""`pagelet up` as a process, with the real gateway and the scripted engine."""

import json
import os
import signal
import socket
import threading
import urllib.error
import urllib.request

import pytest

from local_client import chat, opened
from local_processes import is_alive, until_sync
from local_up import Up, resource, write

BY_TIME = {"metrics": []}
FAST = {
    "steps": [{"weight": 50, "hold": "500ms"}],
    "retainStable": "100ms",
    "analysis": BY_TIME,
}


def got(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "models.yaml", resource())


def test_it_serves_from_the_moment_it_says_so_and_leaves_nobody(file, tmp_path):
    with Up(file, state_dir=tmp_path / "state") as up:
        said = up.wait_for("Serving")
        assert said["message"] == f"ready: {up.url} serves chat"
        assert up.events[0]["reason"] == "Starting"
        answer = chat(up.url)
        assert answer.status == 200
        assert answer.headers["x-pagelet-revision"].startswith("chat-")
        assert len(up.children()) == 2
        assert up.status_url in up.events[0]["message"]
        until_sync(lambda: "· Stable" in got(up.status_url + "/"))
        with pytest.raises(urllib.error.HTTPError, match="404"):
            got(up.url.removesuffix("/v1") + "/metrics")
        up.interrupt()
        assert up.end() == 0
        assert up.children() == []
        up.wait_for("Stopped")


def test_a_stream_in_flight_survives_ctrl_c_to_its_end(file, tmp_path):
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        body = {"model": "chat", "messages": [], "stream": True, "max_tokens": 30}
        with opened(f"{up.url}/chat/completions", body) as answer:
            answer.readline()
            up.interrupt()
            rest = [line for line in answer if line.strip()]
        assert rest[-1] == b"data: [DONE]\n"
        assert len(rest) == 30
        assert up.end() == 0
        assert up.children() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_polite_signals_drain_as_well(file, tmp_path, number):
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Starting")
        up.process.send_signal(number)
        assert up.end() == 0
        assert up.children() == []


def test_a_second_signal_ends_everything_at_once(tmp_path):
    file = write(tmp_path / "models.yaml", resource(script="stubborn grandchild"))
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        assert len(up.children()) == 3
        up.interrupt()
        up.wait_for("Stopping")
        up.interrupt()
        assert up.end() == 130
        assert up.children() == []


def test_nobody_outlives_a_supervisor_that_is_killed(file, tmp_path):
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        assert len(up.children()) == 2
        up.process.kill()
        until_sync(lambda: not up.children(), within_s=10.0)


def test_a_killed_engine_is_replaced(file, tmp_path):
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        engine = up.child("local_engine")
        os.kill(engine, signal.SIGKILL)
        up.wait_for("ReplicaRestarting", message="signal 9")
        until_sync(lambda: chat(up.url).status == 200)
        assert up.child("local_engine") != engine


def test_a_killed_gateway_is_replaced_on_its_port(file, tmp_path):
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        gateway = up.child("gateway")
        os.kill(gateway, signal.SIGKILL)
        up.wait_for("GatewayRestarting")
        until_sync(lambda: len(up.seen("GatewayReady")) == 2)
        until_sync(lambda: chat(up.url).status == 200)
        assert not is_alive(gateway)


def test_a_port_in_use_is_said_before_anything_starts(file, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with Up(file, state_dir=tmp_path / "state", port=port) as up:
            assert up.end() == 2
            sentence = up.process.stderr.read()
            assert str(port) in sentence
            assert "--port" in sentence
            assert sentence.count("\n") == 1
            assert up.events == []


def test_files_that_cannot_work_are_refused_at_the_start(tmp_path):
    file = write(tmp_path / "models.yaml", resource(engine={"maxModelLen": -1}))
    with Up(file, state_dir=tmp_path / "state") as up:
        assert up.end() == 2
        assert "spec.engine.maxModelLen" in up.process.stderr.read()


def test_a_second_one_on_the_same_state_is_refused(file, tmp_path):
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Starting")
        with Up(file, state_dir=tmp_path / "state") as second:
            assert second.end() == 2
            assert "another `pagelet up`" in second.process.stderr.read()


def test_a_rollout_under_load_fails_no_request(tmp_path):
    # All requests are alike: with stickiness they would be one conversation and go one way.
    parts = {"rollout": FAST, "routing": {"stickiness": "None"}}
    file = write(tmp_path / "models.yaml", resource(**parts))
    with Up(file, state_dir=tmp_path / "state") as up:
        url = up.wait_for("Serving")["url"]
        seen, failed, done = set(), [], threading.Event()

        def load(stream):
            while not done.is_set():
                answer = chat(url, stream=stream, max_tokens=4)
                whole = answer.text.endswith("data: [DONE]\n\n") or not stream
                if answer.status != 200 or not whole:
                    failed.append(answer)
                seen.add(answer.headers["x-pagelet-revision"])

        threads = [threading.Thread(target=load, args=(n % 2 == 0,)) for n in range(4)]
        for thread in threads:
            thread.start()
        old = up.child("local_engine")
        write(file, resource(**parts, engine={"maxModelLen": 64}))
        up.wait_for("Promoted")
        write(file, resource(**parts, engine={"maxModelLen": 0}))
        refusal = up.wait_for("Refused")["message"]
        until_sync(lambda: not is_alive(old))
        write(file, resource(**parts, engine={"maxModelLen": 32}))
        until_sync(lambda: len(up.seen("Promoted")) == 2)
        done.set()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(seen) == 3
        assert str(file) in refusal
        assert "spec.engine.maxModelLen" in refusal
        reasons = [e["reason"] for e in up.events if e.get("weights")]
        assert reasons[:3] == ["FirstRevisionReady", "CanaryNotReady", "CanaryReady"]


def test_a_canary_that_cannot_start_is_withdrawn_with_its_sentence(tmp_path):
    file = write(tmp_path / "models.yaml", resource(rollout=FAST))
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        write(file, resource(script="config-error", rollout=FAST))
        failed = up.wait_for("ReplicaFailed", message="spec.model.source")
        assert failed["phase"] == "Failed"
        assert chat(up.url).status == 200
        write(file, resource(rollout=FAST))
        until_sync(lambda: len(up.routes()["models"][0]["revisions"]) == 1)
        assert chat(up.url).status == 200


def test_a_change_of_limits_restarts_nothing(tmp_path):
    file = write(tmp_path / "models.yaml", resource())
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        before = up.children()
        write(file, resource(limits={"requestTimeout": "7s"}))
        up.wait_for("Accepted", message="no replica restarts")
        until_sync(lambda: up.routes()["models"][0]["requestTimeoutSeconds"] == 7.0)
        assert up.children() == before


def test_models_come_and_go_with_their_documents(tmp_path):
    file = write(tmp_path / "models.yaml", resource())
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        write(file, resource(), resource("other"))
        assert up.wait_for("Serving", models=["chat", "other"])
        write(file, resource("other"))
        up.wait_for("Deleted", model="chat")
        until_sync(lambda: len(up.children()) == 2)
        assert [item["name"] for item in up.routes()["models"]] == ["other"]
        until_sync(lambda: chat(up.url).status == 404)
        answer = chat(up.url)
        assert answer.json()["error"]["code"] == "model_not_found"


def test_replicas_follow_the_file(tmp_path):
    file = write(tmp_path / "models.yaml", resource(scaling={"minReplicas": 2}))
    with Up(file, state_dir=tmp_path / "state") as up:
        up.wait_for("Serving")
        pids = {chat(up.url).status for _ in range(4)}
        assert pids == {200}
        write(file, resource(scaling={"minReplicas": 1}))
        up.wait_for("ReplicaEnding")
        until_sync(lambda: len(up.children()) == 2)
        until_sync(lambda: len(up.routes()["models"][0]["revisions"][0]["endpoints"]) == 1)
        assert chat(up.url).status == 200


def test_the_table_of_an_earlier_run_is_not_obeyed(file, tmp_path):
    state = tmp_path / "state"
    with Up(file, state_dir=state) as up:
        up.wait_for("Serving")
        up.process.kill()
        up.process.wait()
    (state / "routes.json.new").mkdir()  # so that this run cannot write its own
    with Up(file, state_dir=state) as up:
        up.wait_for("GatewayReady")
        assert chat(up.url).json()["error"]["code"] == "no_route_table"


def test_only_tenants_with_a_key_are_served_and_a_new_key_counts_at_once(tmp_path):
    tenant = {"name": "team", "apiKeySecretRef": {"name": "keys", "key": "team"}}
    served = resource(limits={"tenants": [tenant]})
    file = write(tmp_path / "models.yaml", served, secret("first-key"))
    with Up(file, state_dir=tmp_path / "state") as up:
        url = up.wait_for("Serving")["url"]
        assert asked(url, None) == 401
        assert asked(url, "first-key") == 200
        write(file, served, secret("second-key"))
        until_sync(lambda: asked(url, "second-key") == 200)
        assert asked(url, "first-key") == 401
        write(file, served)
        said = up.wait_for("KeysMissing")["message"]
        assert said == (
            "default/chat: tenant 'team': Secret 'keys' does not exist; what it held last still "
            "counts"
        )
        assert asked(url, "second-key") == 200
        assert len(up.children()) == 2, "nothing was restarted"


def secret(key):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "stringData": {"team": key},
    }


def asked(url, key):
    """The status of one chat completion with this API key."""
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "Hi"}]})
    request = urllib.request.Request(f"{url}/chat/completions", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
