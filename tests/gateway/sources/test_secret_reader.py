"""Secrets: by name, only those wanted, at once when new, and never lost to a failure."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway_api_server import ApiServer, serving
from gateway_process import until
from pagelet_gateway.core.key_material import KeyRef, Purpose, SecretRef
from pagelet_gateway.sources.metrics import SourceMetrics
from pagelet_gateway.sources.secret_reader import OTHERS_EVERY, SecretReader


def tenant(name: str, key: str = "team") -> KeyRef:
    return KeyRef(SecretRef("ns", name), key, Purpose.TENANT)


def shown(name: str) -> KeyRef:
    return KeyRef(SecretRef("ns", name), "key", Purpose.SHOWN)


def encoded(**texts: str) -> dict[str, str]:
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[ApiServer, SecretReader]]:
    async with serving() as (server, api):
        reader = SecretReader(api, lambda: None, SourceMetrics(CollectorRegistry()))
        task = asyncio.create_task(reader.run())
        try:
            yield server, reader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_only_what_is_wanted_is_looked_up_and_what_is_not_is_forgotten():
    async with reading() as (server, reader):
        server.secrets = {"keys": encoded(team="a", other="b"), "secret": encoded(team="c")}
        reader.want([tenant("keys"), tenant("keys", "other")])
        await until(lambda: len(reader.keys) == 2)
        assert set(server.looked_up) == {"keys"}
        reader.want([tenant("keys")])
        assert set(reader.keys) == {tenant("keys")}


async def test_a_failure_keeps_what_is_known_and_says_what_was_never_read():
    async with reading() as (server, reader):
        server.secrets = {"keys": encoded(team="a")}
        reader.want([tenant("keys")])
        await until(lambda: bool(reader.keys))
        known = reader.keys[tenant("keys")]
        forbidden = web.json_response({"message": "no right"}, status=403)
        server.failures = [forbidden]
        await until(lambda: not server.failures)
        assert reader.keys[tenant("keys")] == known

        server.failures = [web.Response(status=500), web.Response(status=500)]
        reader.want([tenant("keys"), tenant("new")])
        await until(lambda: tenant("new") in reader.keys)
        assert reader.keys[tenant("new")].trouble == "Secret 'new' cannot be read"
        server.secrets["new"] = encoded(team="b")
        await until(lambda: bool(reader.keys[tenant("new")].hashes))


async def test_no_name_leads_out_of_its_folder():
    async with reading() as (server, reader):
        server.secrets = {"keys": encoded(team="a")}
        wanted = [tenant(name) for name in ("..", "../services/x", "a/b", "A", "a?x=1", "")]
        reader.want([*wanted, tenant("keys")])
        await until(lambda: len(reader.keys) == len(wanted) + 1)
        assert set(server.looked_up) == {"keys"}
        assert all("does not exist" in str(reader.keys[ref].trouble) for ref in wanted)


async def test_tenants_are_looked_at_each_turn_and_other_keys_each_tenth():
    async with serving() as (_, api):
        reader = SecretReader(api, lambda: None, SourceMetrics(CollectorRegistry()))
        reader.want([*(shown(f"gate-{n}") for n in range(25)), tenant("keys")])
        turns = [reader._due(turn) for turn in range(OTHERS_EVERY)]
        assert all(SecretRef("ns", "keys") in due for due in turns)
        assert max(map(len, turns)) <= 4
        assert {secret.name for due in turns for secret in due} == {
            "keys", *(f"gate-{n}" for n in range(25)),
        }  # fmt: skip
