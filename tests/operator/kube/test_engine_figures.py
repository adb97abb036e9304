"""Queue, cache and tokens of real engines, read with the key that the cluster holds for them."""

import base64
import contextlib
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kube_cluster import Cluster
from kube_fixtures import IMAGE, Operator, cluster, namespace
from kube_pods import eventually, pods, set_ready
from pagelet_gateway.metrics import Metrics as GatewayMetrics
from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import connect, load_configuration
from pagelet_operator.kube.engine_keys import EngineKeys
from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.manifests import ENGINE_PORT
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.runtime import KubeRuntime
from pagelet_operator.senses import Senses
from pagelet_operator.telemetry.scrape import Scraper
from server_process import ServerProcess

__all__ = ["cluster", "namespace"]

pytestmark = pytest.mark.cluster

RULES = [{"name": "queueDepth", "max": "20"}, {"name": "tokensPerSecond", "min": "0.001"}]
SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny", "name": "m"},
    "rollout": {
        "steps": [{"weight": 50, "hold": "1h"}],
        "analysis": {"interval": "15s", "minRequests": 1, "metrics": RULES},
    },
}


@contextlib.asynccontextmanager
async def a_gateway() -> AsyncIterator[tuple[str, GatewayMetrics]]:
    """What a gateway tells, from a socket; who counts is the test."""
    metrics, app = GatewayMetrics(), web.Application()

    async def tell(_: web.Request) -> web.Response:
        return web.Response(text=metrics.render().decode())

    app.router.add_get("/metrics", tell)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", metrics
    finally:
        await runner.cleanup()


class Reading(Operator):
    """An operator that reads figures, with a clock of its own."""

    scraper: Scraper
    keys: EngineKeys

    async def read(self) -> None:
        await self.keys.refresh()
        self.now += 5.0
        await self.scraper.read()


@contextlib.asynccontextmanager
async def reading(cluster: Cluster, namespace: str, gateway: str) -> AsyncIterator[Reading]:
    async def gateways() -> list[str]:
        return [gateway]

    configuration = await load_configuration(str(cluster.operator_kubeconfig))
    async with connect(configuration) as api:
        holder: list[Reading] = []

        def clock() -> float:
            return holder[0].now

        keys = EngineKeys(api, clock)
        scraper = Scraper(gateways, clock, engine_key=keys)
        runtime = KubeRuntime(api, engine_image=IMAGE)
        senses = Senses(telemetry=scraper)
        controller = Controller(api, runtime, Metrics(), senses=senses, clock=clock)
        operator = Reading(cluster, controller, ModelRef(namespace, "chat"))
        operator.scraper, operator.keys = scraper, keys
        holder.append(operator)
        async with scraper:
            yield operator


@contextlib.contextmanager
def engine(address: str, key: str, folder: Path) -> Iterator[str]:
    """A real engine at a pod's address, with the key of the model's Secret."""
    file = folder / f"key-{address}"
    file.write_text(key)
    server = ServerProcess([
        sys.executable, "-m", "pagelet", "serve", "dummy://tiny", "--served-model-name=m",
        f"--host={address}", f"--port={ENGINE_PORT}", f"--gateway-key-file={file}",
    ])  # fmt: skip
    try:
        yield server.wait_ready()
    finally:
        server.close()


def generate(url: str, key: str, tokens: int) -> None:
    """What a gateway would ask of the engine."""
    body = {"model": "m", "prompt": [1, 2, 3], "max_tokens": tokens, "ignore_eos": True}
    request = urllib.request.Request(
        f"{url}/v1/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json", "x-pagelet-gateway-key": key},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


async def pod_ready(operator: Reading, revision: str, address: str) -> None:
    """Let the one pod of a revision be ready at an address, as a kubelet says."""
    namespace = operator.ref.namespace
    (pod,) = eventually(lambda: pods(operator.cluster, namespace, revision), "a pod")
    set_ready(operator.cluster, pod, address=address)
    await operator.turn()


async def test_queue_cache_and_tokens_of_each_revision_are_read_and_judged(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with a_gateway() as (gateway, metrics), reading(cluster, namespace, gateway) as operator:
        operator.create(SPEC)
        first = (await operator.turn())["canary"]["revision"]
        secret = cluster.get(f"/api/v1/namespaces/{namespace}/secrets/chat-gateway-key")
        key = base64.b64decode(secret["data"]["key"]).decode()
        with engine("127.61.0.1", key, tmp_path) as old, engine("127.61.0.2", key, tmp_path) as new:
            await pod_ready(operator, first, "127.61.0.1")
            operator.change({"engine": {"maxModelLen": 64}})
            second = (await operator.turn())["canary"]["revision"]
            await pod_ready(operator, second, "127.61.0.2")
            await operator.read()
            await operator.read()
            generate(old, key, 7)
            generate(new, key, 5)
            for revision in (first, second):
                metrics.requests.labels("m", revision, "ok").inc(400)
                metrics.e2e.labels("m", revision).observe(2.0)
            for _ in range(5):
                await operator.read()
            assert operator.scraper.failures == {}
            figures = (await operator.turn())["figures"]
        assert figures["stable"]["revision"] == first
        for role, tokens in (("stable", 7), ("canary", 5)):
            said = figures[role]
            assert (said["queue"], said["kvCache"]) == ("0.0", "0%")
            assert 0 < float(said["tokensPerSecond"]) <= tokens / 25.0 + 0.05
        verdict = operator.status()["rollout"]["assessment"]
        assert verdict["verdict"] == "Pass", verdict


async def test_without_the_key_an_engine_tells_the_operator_nothing(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with a_gateway() as (gateway, _), reading(cluster, namespace, gateway) as operator:
        operator.create(SPEC)
        first = (await operator.turn())["canary"]["revision"]
        with engine("127.61.0.3", "another-key-than-the-secrets", tmp_path) as url:
            await pod_ready(operator, first, "127.61.0.3")
            await operator.read()
            await operator.turn()
            await operator.read()
            assert operator.scraper.failures == {url: "HTTP 401"}
