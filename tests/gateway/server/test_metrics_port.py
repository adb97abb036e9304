import json
import signal

from gateway_process import GatewayProcess, model, post
from gateway_tenants import code, uses
from gateway_upstream import Upstream


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
