"""Tenants of a route table and engines that count, for tests of keys and quotas."""

import hashlib
import json
import re
from collections import Counter
from typing import Any

import aiohttp

from gateway_process import GatewayProcess
from gateway_upstream import Script, Wire


def tenant(name: str, *keys: str, **fields: Any) -> dict[str, Any]:
    """A tenant with these keys."""
    hashes = [{"sha256": hashlib.sha256(key.encode()).hexdigest()} for key in keys]
    return {"name": name, "keys": hashes, **fields}


def bearer(key: str) -> dict[str, str]:
    """Headers as `post` takes them."""
    return {"authorization": f"Bearer {key}"}


def counts(prompt: int, output: int) -> dict[str, int]:
    """A usage object."""
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def uses(prompt: int, output: int) -> Script:
    """An engine that answers as asked and says it used this much."""

    async def script(wire: Wire) -> None:
        usage = counts(prompt, output)
        request = json.loads(wire.received.body)
        if not request.get("stream"):
            await wire.reply(200, {"choices": [], "usage": usage})
            return
        await wire.start_stream()
        await wire.token("word ")
        await wire.part(b": pagelet-usage " + json.dumps({"usage": usage}).encode() + b"\n\n")
        await wire.end_stream()

    return script


def code(body: bytes) -> str:
    """The error code of an answer."""
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"])


async def by_tenant(
    session: aiohttp.ClientSession, gateway: GatewayProcess, name: str
) -> Counter[str]:
    """A tenant metric's values by `model:tenant[:reason]`."""
    async with session.get(gateway.url + "/metrics") as answer:
        text = await answer.text()
    found: Counter[str] = Counter()
    for labels, value in re.findall(rf"^pagelet_gateway_tenant_{name}{{(.*)}} (\S+)$", text, re.M):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        key = ":".join(named[label] for label in ("model", "tenant", "reason") if label in named)
        found[key] = int(float(value))
    return found
