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


def test_templates_without_end_end_their_requests_and_nothing_else(url):
    bystander = {"model": "echo", "prompt": "hello", "max_tokens": 50}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        endless = [pool.submit(request, url, "POST", CHAT, chat("endless")) for _ in range(3)]
        with stream(url, "/v1/completions", bystander) as events:
            assert text_of(list(events)) == "hello" * 10
        replies = [each.result() for each in endless]
    assert {reply.status for reply in replies} == {400}
    assert all("takes longer" in reply.json["error"]["message"] for reply in replies)
    assert request(url, "POST", CHAT, chat("hello")).status == 200
    tokenized = request(url, "POST", "/tokenize", {"messages": chat("endless")["messages"]})
    assert tokenized.status == 400
    metrics = request(url, "GET", "/metrics").body.decode()
    assert re.search(r"^pagelet_engine_template_worker_restarts_total{.*} 3.0$", metrics, re.M)
    assert re.search(r"^pagelet_engine_prompt_encoding_seconds_count{.*} 2.0$", metrics, re.M)
