"""A bare HTTP client for tests: sees exactly what is on the wire."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 60


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    """Send one request; `body` as JSON, or `raw` as it is."""
    connection = _connect(url)
    try:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if data is not None else {}
        connection.request(method, path, data, sent | (headers or {}))
        response = connection.getresponse()
        return Reply(response.status, _headers(response), response.read())
    finally:
        connection.close()


@contextmanager
def stream(url: str, path: str, body: dict[str, Any]) -> Iterator["Stream"]:
    """Open a stream; leaving the block closes the connection, whatever is unread."""
    connection = _connect(url)
    try:
        data = json.dumps(body | {"stream": True}).encode()
        connection.request("POST", path, data, {"content-type": "application/json"})
        yield Stream(connection.getresponse())
    finally:
        connection.close()


class Stream:
    """Server-sent events as their payloads."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = _headers(response)
        self._response = response

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._response.readline()
        if not line:
            raise StopIteration
        assert line.startswith(b"data: "), line
        assert self._response.readline() == b"\n"
        return line[6:].decode("utf-8").rstrip("\n")


def text_of(events: list[str]) -> str:
    """Return the text all chunks add up to."""
    parts = []
    for event in events:
        if event.startswith("{"):
            for choice in json.loads(event).get("choices", []):
                parts.append(choice.get("delta", {}).get("content") or choice.get("text") or "")
    return "".join(parts)


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
