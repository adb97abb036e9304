"""A client on the standard library alone, so that a failure is never the library's retry."""

import json
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    text: str

    def json(self):
        return json.loads(self.text)


@contextmanager
def opened(url, body, timeout_s=60.0):
    """The response, whatever its status; iterating it gives lines as they arrive."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        yield response


def post(url, body, timeout_s=60.0):
    """The whole answer. Raises http.client.IncompleteRead or OSError if it breaks off."""
    with opened(url, body, timeout_s) as response:
        return Answer(response.status, response.headers, response.read().decode())


def chat(url, model="chat", timeout_s=60.0, **more):
    """One chat completion of the API at `url` (with its /v1)."""
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": model, "messages": messages, **more}
    return post(f"{url}/chat/completions", body, timeout_s)
