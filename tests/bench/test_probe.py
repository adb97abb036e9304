"""What is asked of an endpoint before it is loaded."""

import pytest

from bench_server import Script, ScriptedServer, completion, refusal
from pagelet_bench.client import new_session
from pagelet_bench.core.dialect import Dialect
from pagelet_bench.core.errors import UnreachableError, UsageError
from pagelet_bench.probe import base_url, probe
from pagelet_bench.server_process import free_port


async def ask(server, model="m"):
    async with server.listening(), new_session(None) as session:
        return await probe(session, server.url, model, timeout_s=20)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_an_address_may_end_in_v1_or_not(path):
    assert base_url(f"http://h:1{path}") == "http://h:1"
    assert base_url(f"https://h/llm{path}") == "https://h/llm"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://h", "http://", "", "localhost"])
def test_what_is_no_address_is_refused_with_an_example(url):
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:8000"):
        base_url(url)


async def test_the_only_model_needs_no_name():
    endpoint = await ask(ScriptedServer(completion, models=["only"]), model=None)
    assert endpoint.model == "only"
    assert endpoint.dialect == Dialect(ignore_eos=True, min_tokens=True)


async def test_several_models_need_a_name():
    with pytest.raises(UsageError, match="serves a, b; say which with --model"):
        await ask(ScriptedServer(completion, models=["a", "b"]), model=None)


async def test_an_unknown_model_is_refused_with_those_that_exist():
    with pytest.raises(UsageError, match="does not serve 'm'; it serves a, b"):
        await ask(ScriptedServer(completion, models=["a", "b"]))


async def test_an_endpoint_without_models_is_not_ready():
    with pytest.raises(UnreachableError, match="serves no model"):
        await ask(ScriptedServer(completion, models=[]))


@pytest.mark.parametrize("status", [400, 422])
async def test_fields_an_endpoint_refuses_are_left_out(status):
    def strict(body):
        return refusal(status, "unknown field") if "min_tokens" in body else completion(body)

    endpoint = await ask(ScriptedServer(strict))
    assert endpoint.dialect == Dialect(ignore_eos=True, min_tokens=False)


async def test_a_plain_endpoint_is_found_too():
    def plain(body):
        return refusal(400, "unknown field") if "ignore_eos" in body else completion(body)

    endpoint = await ask(ScriptedServer(plain))
    assert endpoint.dialect == Dialect(ignore_eos=False, min_tokens=False)


async def test_a_busy_endpoint_is_asked_once_and_named():
    server = ScriptedServer(lambda body: refusal(503, "loading"))
    with pytest.raises(UnreachableError, match="HTTP 503: loading"):
        await ask(server)
    assert len(server.bodies) == 1


async def test_an_endpoint_that_refuses_every_dialect_gives_its_first_sentence():
    with pytest.raises(UnreachableError, match="HTTP 400: no token ids"):
        await ask(ScriptedServer(lambda body: refusal(400, "no token ids")))


async def test_nobody_listening_is_said_with_the_address():
    url = f"http://127.0.0.1:{free_port()}"
    async with new_session(None) as session:
        with pytest.raises(UnreachableError, match=f"{url} cannot be reached"):
            await probe(session, url, None, timeout_s=5)


async def test_a_server_that_is_no_model_server_is_unreachable():
    server = ScriptedServer(lambda body: Script([]))
    async with server.listening(), new_session(None) as session:
        with pytest.raises(UnreachableError, match="trial request"):
            await probe(session, server.url, "m", timeout_s=5)
