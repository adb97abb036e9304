"""Every panel's query, asked of a real Prometheus that reads a running `pagelet up`.

Gateway and engine are real; the operator's series are written by its own class, as there is no
cluster. What `pagelet up` guards by a key, Prometheus opens with it, as the chart's PodMonitors do.
"""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from chart_render import CHART
from local_client import post
from local_processes import until_sync
from local_up import Up, resource, write
from pagelet.dashboards.__main__ import BOARDS
from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.metrics import Metrics

prometheus = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(
    prometheus is None, reason="prometheus is not on PATH; on Debian: apt-get install prometheus"
)

STATUS = {
    "traffic": {"name": "chat"},
    "stable": {"weight": 75, "revision": "chat-1"},
    "canary": {"weight": 25, "revision": "chat-2"},
    "rollout": {"phase": "Progressing", "assessment": {"verdict": "Pass"}},
    "conditions": [{"type": "Ready", "status": "False", "reason": "NoReplicaReady"}],
    "scaling": {"reason": "Steady", "replicas": 1},
}


class Server:
    """A running Prometheus."""

    def __init__(self, port):
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path, **parameters):
        """The `data` of an answer; fails the test on an error, such as a query that is none."""
        url = f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]

    def ask(self, expression):
        return self.get("query", query=expression)["result"]

    def answers(self):
        try:
            return self.get("status/buildinfo")
        except OSError:
            return None


@contextmanager
def scraping(folder, jobs):
    """Run Prometheus over these jobs until the context ends."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(CHART / "files" / "rules.yaml")],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as taken:
        port = taken.server_port
    command = [
        prometheus, f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            server = Server(port)
            log_text = (folder / "prometheus.log").read_text
            until_sync(server.answers, within_s=60, what=log_text)
            yield server
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def operators_metrics():
    """Serve the operator's series as it writes them; yields the address."""
    metrics = Metrics()
    ref = ModelRef("models", "chat")
    metrics.queued(0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            metrics.succeeded(ref, STATUS, 0.01, time.time())
            body = metrics.exposition()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def job(name, target, **settings):
    return {"job_name": name, "static_configs": [{"targets": [target]}], **settings}


def concrete(expression):
    """The query as Grafana sends it once somebody has chosen everything."""
    for variable in ("$model", "$namespace", "$name"):
        expression = expression.replace(f'"{variable}"', '".+"')
    expression = expression.replace("$__rate_interval", "1m")
    assert "$" not in expression
    return expression


def use(url):
    """Ask for a stream of tokens; the gateway times only those."""
    body = {"model": "chat", "prompt": "a", "max_tokens": 8, "ignore_eos": True, "stream": True}
    assert post(f"{url}/completions", body).status == 200


@pytest.mark.timeout(280)
def test_every_query_of_every_dashboard_is_answered(tmp_path):
    file = write(tmp_path / "chat.yaml", resource("chat") | {"spec": tiny()})
    with Up(file, state_dir=tmp_path / "state", real=True) as up, operators_metrics() as operator:
        up.wait_for("Serving")
        [model] = up.routes()["models"]
        engine = model["revisions"][0]["endpoints"][0]["url"].removeprefix("http://")
        key = {"authorization": {"credentials_file": model["gatewayKeyFile"]}}
        jobs = [
            job("gateway", up.status_url.removeprefix("http://")),
            job("engine", engine, **key),
            job("operator", operator),
        ]
        with scraping(tmp_path, jobs) as server:
            until_sync(
                lambda: len(server.ask("up == 1")) == len(jobs),
                within_s=60,
                what=lambda: str(server.get("targets")),
            )
            silent = {
                (panel.title, concrete(query.expr)): panel
                for board in BOARDS
                for panel in board.panels
                for query in panel.queries
                if not panel.may_be_empty
            }
            # Watches of a cluster: `pagelet up` reads a file.
            silent = {
                key: found for key, found in silent.items() if "source_watching" not in key[1]
            }

            def all_speak():
                use(up.url)
                for title, expression in list(silent):
                    if server.ask(expression):
                        del silent[title, expression]
                return not silent

            until_sync(all_speak, within_s=120, what=lambda: f"no data: {list(silent)}")
            for board in BOARDS:
                for panel in board.panels:
                    for query in panel.queries:
                        server.ask(concrete(query.expr))
            health = {
                rule["health"] for group in server.get("rules")["groups"] for rule in group["rules"]
            }
            assert health <= {"ok", "unknown"}


def tiny():
    return {"model": {"source": "dummy://tiny"}, "engine": {"device": "cpu"}}
