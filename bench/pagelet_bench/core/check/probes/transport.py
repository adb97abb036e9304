"""HTTP around the answers: ids, connections, clients that leave."""

from dataclasses import replace

from pagelet_bench.core.check.answers import must, read, read_object
from pagelet_bench.core.check.exchange import Request
from pagelet_bench.core.check.refusals import ask_refusal
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.verdict import (
    Need,
    Probe,
    Steps,
    honoured,
    ignored,
    untestable,
    when,
)

_ID = "check-4f1d9c"


def request_id(target: Target) -> Steps:
    """Look for the id by which a request can be found in logs."""
    answer = read((yield target.chat(max_tokens=1)))
    found = answer.headers.get("x-request-id")
    return honoured(f"x-request-id: {found}") if found else ignored("no x-request-id")


def request_id_kept(target: Target) -> Steps:
    """Send an id of our own."""
    request = replace(target.chat(max_tokens=1), headers={"X-Request-Id": _ID})
    found = read((yield request)).headers.get("x-request-id", "")
    return when(_ID in found, "the client's id comes back", f"x-request-id: {found or 'absent'}")


def error_request_id(target: Target) -> Steps:
    """Look for the id on a refusal, where it is needed most."""
    exchange = yield from ask_refusal(target.chat(temperature="hot"), "nothing was refused")
    found = exchange.headers.get("x-request-id")
    return honoured(f"x-request-id: {found}") if found else ignored("no x-request-id")


def content_type(target: Target) -> Steps:
    """Check that JSON is called JSON."""
    answer = read((yield target.chat(max_tokens=1)))
    kind = answer.headers.get("content-type", "")
    return when(kind.startswith("application/json"), kind, f"the content type is {kind!r}")


def keep_alive(target: Target) -> Steps:
    """Check that a second request goes over the same connection."""
    read((yield target.chat(max_tokens=1)))
    second = yield target.chat(max_tokens=1)
    read(second)
    return when(
        second.is_reused, "the connection is used again", "each request needs a new connection"
    )


def keep_alive_stream(target: Target) -> Steps:
    """Check that a connection outlives a stream."""
    first = yield target.chat(max_tokens=2, stream=True)
    must(not first.failure, first.failure)
    second = yield target.chat(max_tokens=1)
    read(second)
    return when(second.is_reused, "the connection is used again", "each stream costs a connection")


def disconnect(target: Target) -> Steps:
    """Leave in the middle of a long stream; who comes next must not feel it."""
    long = target.chat(max_tokens=256, stream=True)
    for _ in range(2):
        left = yield replace(long, leave_after=2)
        if left.status != 200 or left.failure:
            return untestable(f"no stream to leave: HTTP {left.status} {left.failure}")
    answer = read((yield target.chat(max_tokens=4)))
    return honoured(f"the request after two clients that left is served: {answer.text!r}")


def head(target: Target) -> Steps:
    """HEAD a GET route."""
    return (yield from _harmless(Request(method="HEAD", path="/v1/models")))


def options(target: Target) -> Steps:
    """Ask what a browser asks first."""
    return (yield from _harmless(Request(method="OPTIONS", path="/v1/chat/completions")))


def _harmless(request: Request) -> Steps:
    exchange = yield request
    must(not exchange.failure, exchange.failure)
    must(exchange.status < 500, f"HTTP {exchange.status}")
    if exchange.status < 400:
        return honoured(f"HTTP {exchange.status}")
    allowed = exchange.headers.get("allow")
    return ignored(
        f"HTTP {exchange.status}: not offered" + (f", allowed is {allowed}" if allowed else "")
    )


def models(target: Target) -> Steps:
    """List the models."""
    body = read_object((yield Request(method="GET", path="/v1/models")))
    must(body.get("object") == "list", f"object is {body.get('object')!r}, not 'list'")
    listed = body.get("data")
    must(isinstance(listed, list), "data is not a list")
    assert isinstance(listed, list)
    must(all(isinstance(item, dict) for item in listed), "a model is not an object")
    item = next((item for item in listed if item.get("id") == target.model), None)
    if item is None:
        return ignored(f"{target.model!r} is served and not listed")
    must(item.get("object") == "model", f"a model's object is {item.get('object')!r}")
    must(type(item.get("created")) is int, "a model's created is not an integer")
    must(isinstance(item.get("owned_by"), str), "a model's owned_by is not a string")
    return honoured(f"{len(listed)} listed, with id, object, created and owned_by")


def one_model(target: Target) -> Steps:
    """Retrieve the model by its name."""
    body = read_object((yield Request(method="GET", path=f"/v1/models/{target.model}")))
    found = body.get("id")
    return when(found == target.model, f"id {found!r}", f"id is {found!r}")


def health(target: Target) -> Steps:
    """Look for a path that a load balancer can ask."""
    seen = []
    for path in ("/health", "/readyz", "/healthz"):
        exchange = yield Request(method="GET", path=path)
        must(exchange.status < 500 and not exchange.failure, f"{path}: HTTP {exchange.status}")
        if exchange.status == 200:
            return honoured(f"{path} answers 200")
        seen.append(f"{path} {exchange.status}")
    return ignored(", ".join(seen))


def tokenize(target: Target) -> Steps:
    """Tokenize a text and bring it back."""
    text = "The sea is wide."
    body = read_object((yield _tokenizing("/tokenize", target, "prompt", text)))
    tokens = body.get("tokens")
    must(isinstance(tokens, list) and bool(tokens), "tokens is not a list")
    body = read_object((yield _tokenizing("/detokenize", target, "tokens", tokens)))
    back = body.get("prompt")
    must(isinstance(back, str), "prompt is not a string")
    assert isinstance(back, str)
    return when(text in back, "a text comes back from its tokens", f"{text!r} became {back!r}")


def _tokenizing(path: str, target: Target, name: str, value: object) -> Request:
    return Request(path=path, body={"model": target.model, name: value})


REQ, OPT, REF = Need.REQUIRED, Need.OPTIONAL, Need.REFUSABLE
PROBES = (
    Probe(id="transport.request_id", field="x-request-id", proves="in the answer",
          need=OPT, steps=request_id),
    Probe(id="transport.request_id_kept", field="x-request-id (the client's)",
          proves="comes back", need=OPT, steps=request_id_kept),
    Probe(id="transport.error_request_id", field="x-request-id (refusal)",
          proves="in a refusal", need=OPT, steps=error_request_id),
    Probe(id="transport.content_type", field="content-type", proves="application/json",
          need=REQ, steps=content_type),
    Probe(id="transport.keep_alive", field="(connection reuse)",
          proves="a second request uses the connection", need=OPT, steps=keep_alive),
    Probe(id="transport.keep_alive_stream", field="(connection reuse after a stream)",
          proves="a request after a stream uses the connection", need=OPT, steps=keep_alive_stream),
    Probe(id="transport.disconnect", field="(client leaves)",
          proves="the next request is served", need=REQ, steps=disconnect),
    Probe(id="transport.head", field="HEAD /v1/models", proves="below 400", need=OPT, steps=head),
    Probe(id="transport.options", field="OPTIONS /v1/chat/completions", proves="below 400",
          need=OPT, steps=options),
    Probe(id="info.models", field="GET /v1/models", proves="a list of complete objects",
          need=REQ, steps=models),
    Probe(id="info.model", field="GET /v1/models/NAME", proves="the model's object",
          need=REF, steps=one_model),
    Probe(id="info.health", field="GET /health or /readyz", proves="200", need=OPT, steps=health),
    Probe(id="info.tokenize", field="POST /tokenize, /detokenize",
          proves="a text comes back from its tokens", need=REF, steps=tokenize),
)  # fmt: skip
