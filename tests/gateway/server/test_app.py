import io
import json

import openai
import pytest
from yarl import URL

from gateway_process import model, post
from gateway_upstream import Upstream

BAD_REQUESTS = [
    ("POST", "/v1/chat/completions", b"", 400, "invalid_json", None),
    ("POST", "/v1/chat/completions", b"{", 400, "invalid_json", None),
    ("POST", "/v1/chat/completions", b"[]", 400, "invalid_json", None),
    ("POST", "/v1/completions", b"{}", 400, "missing_required_parameter", "model"),
    ("POST", "/v1/completions", b'{"model": 1}', 400, "invalid_type", "model"),
    ("POST", "/v1/completions", b'{"model": "nope"}', 404, "model_not_found", "model"),
    ("POST", "/tokenize", b'{"model": "nope"}', 404, "model_not_found", "model"),
    ("POST", "/detokenize", b"{", 400, "invalid_json", None),
    ("POST", "/v1/completions", b'{"model": "idle"}', 503, "no_capacity", None),
    ("POST", "/v1/completions", b'{"model": "empty"}', 503, "no_capacity", None),
    ("POST", "/v1/completions", b"x" * (8 * 1024 * 1024 + 1), 413, "body_too_large", None),
    ("GET", "/v1/chat/completions", b"", 405, "method_not_allowed", None),
    ("POST", "/v1/models", b"{}", 405, "method_not_allowed", None),
    ("DELETE", "/v1/models", b"", 405, "method_not_allowed", None),
    ("GET", "/", b"", 404, "unknown_url", None),
    ("GET", "/v1/models/", b"", 404, "unknown_url", None),
    ("POST", "/v1/embeddings", b'{"model": "m"}', 404, "unknown_url", None),
    ("POST", "/v1/chat/completions/../../readyz", b"{}", 404, "unknown_url", None),
    ("GET", "/metrics%00", b"", 404, "unknown_url", None),
    ("POST", "/v1/chat%2fcompletions", b'{"model": "m"}', 404, "unknown_url", None),
    ("POST", "/v1/chat/completion%73", b'{"model": "m"}', 404, "unknown_url", None),
    ("GET", "/v1%2Fmodels/m", b"", 404, "unknown_url", None),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "param"), BAD_REQUESTS)
async def test_a_bad_request_gets_openais_error_object(
    gateway, session, method, path, body, status, code, param
):
    async with Upstream() as engine:
        gateway.apply(
            model("m", {"m-1": (100, [engine.url])}),
            model("idle", {"idle-1": (0, [engine.url])}),
            model("empty", {"empty-1": (100, [])}),
        )
        url = URL(gateway.url + path, encoded=True)
        async with session.request(method, url, data=io.BytesIO(body)) as answer:
            error = json.loads(await answer.read())["error"]
            assert answer.status == status
            assert set(error) == {"message", "type", "param", "code"}
            assert (error["code"], error["param"]) == (code, param)
            assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
            assert answer.headers["x-request-id"]
            if status == 503:
                assert int(answer.headers["retry-after"]) >= 1
            if status == 405:
                assert answer.headers["allow"] in ("GET, HEAD", "POST")
        assert engine.received == []


async def test_an_unknown_model_is_told_the_names_that_exist(gateway, session):
    gateway.apply(model("b", {"b-1": (0, [])}), model("a", {"a-1": (0, [])}))
    _, body, _ = await post(session, gateway.url + "/v1/completions", {"model": "c"})
    assert "'c' does not exist here; models: a, b" in json.loads(body)["error"]["message"]


async def test_a_name_only_a_client_uttered_never_becomes_a_label(gateway, session):
    gateway.apply(model("m", {"m-1": (0, [])}))
    await post(session, gateway.url + "/v1/completions", {"model": "whatever-a-client-says"})
    async with session.get(gateway.url + "/metrics") as answer:
        text = await answer.text()
    assert "whatever-a-client-says" not in text
    assert 'pagelet_gateway_rejected_total{reason="model_not_found"}' in text


async def test_models_lists_those_a_request_could_be_routed_to(gateway, session):
    url = "http://127.0.0.1:9"
    gateway.apply(
        model("b", {"b-1": (100, [url])}),
        model("a", {"a-1": (0, []), "a-2": (100, [url])}),
        model("idle", {"idle-1": (0, [url])}),
        model("empty", {"empty-1": (100, [])}),
    )
    client = openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="none")
    async with client:
        listed = [item async for item in client.models.list()]
    assert [item.id for item in listed] == ["a", "b"]
    assert {item.object for item in listed} == {"model"}
    assert all(isinstance(item.created, int) for item in listed)


async def test_one_model_can_be_asked_for_whatever_its_name_holds(gateway):
    name = "meta-llama/Llama-3.1-8B"
    gateway.apply(model(name, {"m-1": (100, ["http://127.0.0.1:9"])}))
    async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="none") as client:
        assert (await client.models.retrieve(name)).id == name
        with pytest.raises(openai.NotFoundError) as refusal:
            await client.models.retrieve("other")
    assert refusal.value.code == "model_not_found"


async def test_the_official_client_works_streamed_and_not(gateway):
    async with Upstream() as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="none") as client:
            messages = [{"role": "user", "content": "count"}]
            whole = await client.chat.completions.create(model="m", messages=messages)
            assert whole.choices[0].message.content == "one two three four five"
            stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
            parts = [chunk.choices[0].delta.content async for chunk in stream]
            assert parts == ["one ", "two ", "three ", "four ", "five"]
            with pytest.raises(openai.NotFoundError) as refusal:
                await client.chat.completions.create(model="x", messages=messages)
            assert refusal.value.code == "model_not_found"


async def test_probes_and_version_answer_without_a_model(gateway, session):
    gateway.apply()
    for path, key in (("/livez", "status"), ("/readyz", "status"), ("/version", "version")):
        async with session.get(gateway.url + path) as answer:
            assert answer.status == 200
            assert (await answer.json())[key]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/readyz", "/livez", "/version"])
async def test_head_is_get_without_a_body(gateway, session, path):
    gateway.apply(model("m", {"m-1": (100, ["http://127.0.0.1:1"])}))
    async with session.get(gateway.url + path) as got, session.head(gateway.url + path) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        for name in ("content-type", "content-length"):
            assert answer.headers[name] == got.headers[name]
    async with session.head(gateway.url + "/v1/completions") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_models_name_may_be_percent_encoded(gateway, session):
    gateway.apply(model("org/my name", {"m-1": (100, ["http://127.0.0.1:1"])}))
    for path in ("/v1/models/org/my%20name", "/v1/models/org%2Fmy%20name"):
        async with session.get(URL(gateway.url + path, encoded=True)) as answer:
            assert (answer.status, (await answer.json())["id"]) == (200, "org/my name")
