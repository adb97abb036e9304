import base64
import hashlib
import json
import re
import signal

from gateway_process import GatewayProcess, model, post
from gateway_tenants import code, uses
from gateway_upstream import Upstream, streams


async def test_metrics_on_a_port_of_their_own_are_not_on_the_clients(tmp_path, session):
    with GatewayProcess(tmp_path, "--metrics-port", "0") as gateway:
        own = gateway.wait_log("metrics listen")["url"]
        async with Upstream(uses(1, 1)) as engine:
            gateway.apply(model("m", {"m-1": (100, [engine.url])}))
            status, _, _ = await post(session, gateway.url + "/v1/completions", {"model": "m"})
            assert status == 200
        async with session.get(own + "/metrics") as answer:
            assert answer.status == 200
            assert "pagelet_gateway_requests_total" in await answer.text()
        async with session.get(gateway.url + "/metrics") as answer:
            assert (answer.status, code(await answer.read())) == (404, "unknown_url")
        async with session.get(own + "/v1/models") as answer:
            assert answer.status == 404
            assert json.loads(await answer.read())["error"]["code"] == "unknown_url"
        assert gateway.stop(signal.SIGTERM) == 0


async def test_the_status_page_is_on_the_metrics_port_alone_and_shows_who_serves(tmp_path, session):
    rollout = {"phase": "Progressing", "assessment": {"verdict": "Pass", "message": "alike"}}
    with GatewayProcess(tmp_path, "--metrics-port", "0") as gateway:
        own = gateway.wait_log("metrics listen")["url"]
        async with session.get(own + "/") as answer:
            assert "no route table" in await answer.text()
        async with Upstream(streams("a ", "b ")) as engine:
            gateway.apply(model("<m>", {"m-1": (100, [engine.url])}, rollout=rollout))
            ask = {"model": "<m>", "stream": True}
            assert (await post(session, gateway.url + "/v1/chat/completions", ask))[0] == 200
            async with session.get(own + "/?model=M%3E&other") as answer:
                assert (answer.status, answer.content_type) == (200, "text/html")
                assert answer.headers["cache-control"] == "no-store"
                html, policy = await answer.text(), answer.headers["content-security-policy"]
        assert "&lt;m&gt;" in html
        assert "<m>" not in html
        assert "Progressing · Verdict Pass: alike" in html
        assert 'value="M&gt;"' in html
        for path in ("/", "/?model=m"):
            async with session.get(gateway.url + path) as answer:
                assert answer.status == 404
        async with session.post(own + "/") as answer:
            assert answer.status == 404
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


async def test_the_metrics_port_can_be_at_another_address(tmp_path, session):
    with GatewayProcess(tmp_path, "--metrics-port=0", "--metrics-host=127.0.0.2") as gateway:
        own = gateway.wait_log("metrics listen")["url"]
        assert own.startswith("http://127.0.0.2:")
        async with session.get(own + "/metrics") as answer:
            assert answer.status == 200
