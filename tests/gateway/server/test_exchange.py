import asyncio
import json
import re

import pytest

from gateway_process import GatewayProcess, model, post
from gateway_upstream import Upstream
from pagelet_gateway.errors import BodyTimeoutError
from pagelet_gateway.server.exchange import Exchange

PATH = "/v1/completions"


async def raw(gateway: GatewayProcess, request: bytes) -> bytes:
    """Send bytes, return all that comes until the gateway closes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


async def test_the_body_reaches_the_engine_byte_for_byte(gateway, session):
    body = b'{ "model":"m" , "weird": 1.0e5, "model2":"\\u0041", "x":"\xc3\xa9" }\n'
    async with Upstream() as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        status, _, _ = await post(session, gateway.url + PATH, body)
        assert status == 200
        assert engine.received[0].body == body
        assert engine.received[0].path == PATH


async def test_a_large_body_under_the_cap_reaches_the_engine(gateway, session):
    body = json.dumps({"model": "m", "prompt": "x" * 5_000_000}).encode()
    async with Upstream() as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        status, _, _ = await post(session, gateway.url + PATH, body)
        assert status == 200
        assert engine.received[0].body == body


async def test_a_harmless_request_id_is_kept_and_any_other_replaced(gateway, session):
    async with Upstream() as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        for given, kept in (("abc-1.2:3", True), ("a b", False), ("x" * 129, False), ("é", False)):
            _, _, headers = await post(
                session, gateway.url + PATH, {"model": "m"}, x_request_id=given
            )
            answered = headers["x-request-id"]
            assert engine.received[-1].headers["x-request-id"] == answered
            if kept:
                assert answered == given
            else:
                assert re.fullmatch("[0-9a-f]{32}", answered)


async def test_a_body_that_claims_to_be_too_large_is_refused_unread(gateway):
    gateway.apply()
    head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n"
    answer = await raw(gateway, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


async def test_a_chunked_body_is_capped_without_a_claim(gateway):
    gateway.apply()
    head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    answer = await raw(gateway, head + chunk * 9 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_compressed_body_is_refused(gateway, session):
    gateway.apply()
    status, body, _ = await post(session, gateway.url + PATH, b"\x1f\x8b", content_encoding="gzip")
    assert status == 415
    assert json.loads(body)["error"]["code"] == "unsupported_encoding"


@pytest.mark.parametrize("head", [b"GARBAGE\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"])
async def test_what_is_not_http_is_refused(gateway, head):
    assert (await raw(gateway, head)).startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_trickles_is_refused_in_time():
    async def never() -> dict[str, object]:
        await asyncio.sleep(60)
        return {}

    scope = {"method": "POST", "path": PATH, "headers": []}
    exchange = Exchange(scope, never, never, closes=False)
    with pytest.raises(BodyTimeoutError, match=r"within 0\.01 s"):
        await exchange.read_body(max_bytes=10, timeout_s=0.01)
    assert exchange.closes
