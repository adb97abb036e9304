"""A model whose chat template does not end, behind a real server."""

import concurrent.futures
import re

import pytest

from server_client import request, stream, text_of
from server_process import echo_server

SERVER = """
import json, sys
from pagelet_engine.config import EngineConfig, ServerConfig
from pagelet_engine.text import vocabulary
vocabulary.CHATML = (
    "{% if messages[0].content == 'endless' %}{% for a in range(99999) %}"
    "{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}" + vocabulary.CHATML
)
from pagelet_engine.server.run import serve
model, listen, command = json.loads(sys.argv[1])
raise SystemExit(serve(EngineConfig(**model), ServerConfig(**listen), command))
"""
CHAT = "/v1/chat/completions"


def chat(text):
    return {"model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": text}]}


@pytest.fixture
def url(monkeypatch):
    monkeypatch.setattr("server_process.ECHO_SERVER", SERVER)
    with echo_server("--step-seconds", "0.01") as server:
        yield server.wait_ready()


def test_a_template_without_end_ends_its_requests_and_nothing_else(url):
    bystander = {"model": "echo", "prompt": "hello", "max_tokens": 50}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        endless = pool.submit(request, url, "POST", CHAT, chat("endless"))
        with stream(url, "/v1/completions", bystander) as events:
            assert text_of(list(events)) == "hello" * 10
        refused = endless.result()
    assert refused.status == 400
    assert "takes longer" in refused.json["error"]["message"]
    assert request(url, "POST", CHAT, chat("hello")).status == 200
    tokenized = request(url, "POST", "/tokenize", {"messages": chat("endless")["messages"]})
    assert tokenized.status == 400
    metrics = request(url, "GET", "/metrics").body.decode()
    assert re.search(r"^pagelet_engine_template_worker_restarts_total{.*} 1.0$", metrics, re.M)
    assert re.search(r"^pagelet_engine_prompt_encoding_seconds_count{.*} 2.0$", metrics, re.M)
