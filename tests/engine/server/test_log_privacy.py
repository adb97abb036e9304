"""A word put everywhere a client can put one is in no line of the log, nor in the metrics."""

import json
import signal

from pagelet_engine.config import EngineConfig
from pagelet_engine.engine_client import engine_command
from server_client import request, stream
from server_process import echo_server

WORD = "swordfish"
TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
MODEL = {"model": "dummy://tiny", "served_model_name": "m", "num_threads": 1}
SAID = [{"role": "user", "content": WORD}]
TOOL = {
    "type": "function",
    "function": {
        "name": WORD,
        "description": WORD,
        "parameters": {
            "type": "object",
            "properties": {WORD: {"enum": [WORD]}},
            "required": [WORD],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {"type": "object", "properties": {WORD: {"const": WORD}}, "required": [WORD]}


def chat(**fields):
    return CHAT, {"model": "m", "messages": SAID, "max_tokens": 30} | fields


def plain(**fields):
    return TEXT, {"model": "m", "prompt": WORD, "max_tokens": 5} | fields


def schema(value):
    return {"type": "json_schema", "json_schema": {"name": WORD, "schema": value}}


CALLS = [
    plain(user=WORD, stop=[WORD], bad_words=[WORD]),
    plain(structured_outputs={"regex": f"{WORD}+"}),
    plain(structured_outputs={"regex": f"{WORD}(("}),
    plain(structured_outputs={"choice": [WORD]}),
    plain(structured_outputs={"grammar": f'start: "{WORD}"'}),
    plain(structured_outputs={"grammar": f"start: {WORD}"}),
    plain(structured_outputs={"regex": f"({WORD}{{1,1000}}){{1,1000}}"}),
    plain(temperature=WORD),
    plain(model=WORD),
    plain(**{WORD: WORD}),
    plain(prompt=[WORD] * 1000),
    plain(logit_bias={WORD: 1}),
    plain(prompt=WORD * 100_000),
    chat(response_format=schema(SCHEMA)),
    chat(response_format=schema({"type": WORD, "$ref": WORD, "pattern": f"{WORD}(("})),
    chat(tools=[TOOL], tool_choice="required"),
    chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": f"{WORD}x"}}),
    chat(messages=[{"role": WORD, "content": WORD, "name": WORD}]),
    chat(chat_template_kwargs={WORD: WORD}),
    chat(metadata={WORD: WORD}),
    ("/tokenize", {"prompt": WORD}),
    ("/detokenize", {"tokens": [WORD]}),
    (f"/{WORD}?{WORD}={WORD}", {}),
    (f"/v1/models/{WORD}", {}),
]
HEADERS = {
    "authorization": f"Bearer {WORD}-{WORD}",
    "x-pagelet-tenant": WORD,
    "x-pagelet-gateway-key": WORD,
    "traceparent": WORD,
    "user-agent": WORD,
    "cookie": WORD,
    f"x-{WORD}": WORD,
    "x-request-id": f"{WORD} is no id",
}


def test_no_text_of_a_client_is_in_the_log_or_the_metrics_and_each_refusal_has_its_id():
    statuses = []
    with echo_server(model=MODEL, command=engine_command(EngineConfig(**MODEL))) as server:
        url = server.wait_ready()
        for path, body in CALLS:
            statuses.append(request(url, "POST", path, body).status)
            statuses.append(request(url, "POST", path, body, headers=HEADERS).status)
        request(url, "POST", TEXT, raw=f'{{"prompt": "{WORD}'.encode())
        request(url, "POST", TEXT, plain()[1], headers={"content-type": WORD})
        request(url, "GET", f"/v1/models/{WORD}")
        with stream(url, TEXT, plain(max_tokens=200)[1]) as events:
            next(events)
        metrics = request(url, "GET", "/metrics").body
        assert WORD not in request(url, "GET", "/version").body.decode()
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
    assert {200, 400, 404} <= set(statuses) <= {200, 400, 404, 405, 413}
    assert WORD.encode() not in metrics
    assert WORD not in "".join(server.lines)
    refused = [line for line in map(json.loads, server.lines) if line["event"] == "refused"]
    assert len(refused) > 10
    ids = [line["request_id"] for line in refused]
    assert len(set(ids)) == len(ids)
