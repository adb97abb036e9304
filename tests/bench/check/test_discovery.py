"""Before any probe it is known whom to ask; whoever named it wrongly reads a sentence."""

from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from check_endpoint import KEY, MODEL, serving
from pagelet_bench.check.discovery import discover
from pagelet_bench.check.wire import Wire
from pagelet_bench.core.errors import UnreachableError, UsageError
from pagelet_bench.server_process import free_port


@asynccontextmanager
async def endpoint(listing, *, chat=200, plain=200, status=200):
    """Serve a listing, and every generation with a status."""

    async def handle(request):
        if request.path == "/v1/models":
            return web.json_response(listing, status=status)
        code = chat if "chat" in request.path else plain
        return web.json_response({"error": {"message": "no"}}, status=code)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def found(url, model=None):
    async with Wire(url, KEY, timeout_s=5.0) as wire:
        target, _ = await discover(wire, model, has_key=True)
        return target


def listing(*names, **more):
    return {"object": "list", "data": [{"id": name} | more for name in names]}


async def test_the_only_model_is_asked_and_its_context_known():
    async with endpoint(listing("a", max_model_len=64)) as url:
        target = await found(url)
    assert (target.model, target.max_model_len, target.has_key) == ("a", 64, True)
    assert (target.has_chat, target.has_completions) == (True, True)


async def test_of_several_the_one_named_is_asked():
    async with endpoint(listing("a", "b")) as url:
        assert (await found(url, "b")).model == "b"
        with pytest.raises(UsageError, match="serves a, b; say which"):
            await found(url)
        with pytest.raises(UsageError, match="does not serve 'c'; it serves a, b"):
            await found(url, "c")


@pytest.mark.parametrize("length", [0, -1, True, "64", None])
async def test_a_context_that_is_no_length_is_unknown(length):
    async with endpoint(listing("a", max_model_len=length)) as url:
        assert (await found(url)).max_model_len is None


async def test_a_model_may_be_named_where_none_is_listed():
    for listed, status in (({}, 404), (listing(), 200)):
        async with endpoint(listed, status=status) as url:
            assert (await found(url, "hidden")).model == "hidden"
    async with endpoint({}, status=404) as url:
        with pytest.raises(UnreachableError, match="name its model with --model"):
            await found(url)


async def test_a_route_that_does_not_answer_is_known_and_without_any_it_is_no_endpoint():
    async with endpoint(listing("a"), plain=404) as url:
        target = await found(url)
        assert (target.has_chat, target.has_completions) == (True, False)
    async with endpoint(listing("a"), chat=404, plain=404) as url:
        with pytest.raises(UnreachableError, match="HTTP 404: no"):
            await found(url)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_is_said(status):
    async with endpoint({"error": {"message": "wrong key"}}, status=status) as url:
        with pytest.raises(UsageError, match=f"refuses the key .HTTP {status}: wrong key"):
            await found(url)


async def test_nobody_there_is_said():
    with pytest.raises(UnreachableError, match="cannot be reached"):
        await found(f"http://127.0.0.1:{free_port()}")


async def test_a_whole_endpoint_is_found():
    async with serving() as url:
        assert (await found(url)).model == MODEL
