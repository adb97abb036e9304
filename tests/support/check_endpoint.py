"""An OpenAI-like endpoint around a made-up model, right in every respect, or wrong in one.

A *defect* is a name in `DEFECTS`; each is a way in which a real server has been wrong. The same
answers come as exchanges (`Endpoint.respond`) or over a socket (`serving`).
"""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pagelet_bench.core.check.exchange import Exchange, Request

MODEL, KEY = "made-up", "right-key"
DONE = "[DONE]"
DEFECTS = frozenset(
    [
        "seed",
        "temperature",
        "top_p",
        "stop",
        "stop_finish",
        "max_tokens",
        "n",
        "usage_sum",
        "logit_bias",
        "penalty",
        "bad_words",
        "logprobs",
        "positive_logprob",
        "heavy_tops",
        "schema",
        "tools",
        "bad_arguments",
        "call_without_id",
        "role",
        "false_done",
        "no_done",
        "cut_stream",
        "finish_twice",
        "no_finish",
        "stream_ignored",
        "odd_finish",
        "usage_choices",
        "integer_code",
        "bare_error",
        "unknown_field",
        "server_error",
        "nan",
        "html",
        "any_model",
        "any_key",
        "echo",
        "token_ids",
        "hang_up",
    ]
)
KNOWN_FIELDS = {
    "model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "seed", "n", "stop", "stream", "stream_options", "logprobs", "top_logprobs", "logit_bias",
    "bad_words", "user", "presence_penalty", "response_format", "tools", "tool_choice", "echo",
}  # fmt: skip

Json = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    defect: str = ""

    def __post_init__(self):
        assert self.defect in DEFECTS | {""}, self.defect

    def respond(self, request: Request) -> Exchange:
        raw = request.raw if request.raw is not None else json.dumps(request.body).encode()
        key = "wrong" if request.wrong_key else KEY
        status, kind, parts = self.answer(request.method, request.path, raw, key)
        if kind == "text/event-stream":
            answer: Json = {"events": tuple(parts[: request.leave_after])}
            if self.defect == "cut_stream":
                answer["failure"] = "the connection broke in the middle of the answer"
        else:
            answer = {"text": parts[0]}
        headers = {"content-type": kind, "x-request-id": "r-1"}
        return Exchange(request=request, status=status, headers=headers, is_reused=True, **answer)

    def answer(self, method: str, path: str, raw: bytes, key: str) -> tuple[int, str, list[str]]:
        """Return status, content type, and the body or the events' data."""
        if key != KEY and self.defect != "any_key":
            return self._error(401, "wrong key", "invalid_api_key")
        if path == "/v1/models":
            item = {"id": MODEL, "object": "model", "created": 1, "owned_by": "us"}
            return _json(200, {"object": "list", "data": [item]})
        if not path.endswith("/completions"):
            return self._error(404, "no such path", "not_found")
        if method != "POST":
            return self._error(405, "POST it", "method")
        try:
            body = json.loads(raw)
        except ValueError:
            return self._error(400, "no JSON", "invalid_json")
        refusal = self._refusal(body, path)
        return refusal if refusal else self._generate(body, path)

    def _refusal(self, body: Json, path: str):
        if set(body) - KNOWN_FIELDS and self.defect != "unknown_field":
            return self._error(400, "unknown field", "unknown_parameter")
        if body.get("model") != MODEL and self.defect != "any_model":
            return self._error(404, "no such model", "model_not_found")
        if not isinstance(body.get("temperature", 1), int | float):
            return self._error(400, "temperature is no number", "invalid_type")
        if "chat" in path and not body.get("messages"):
            return self._error(400, "no messages", "missing")
        return None

    def _error(self, status: int, message: str, code: str):
        if self.defect == "server_error" and status == 400:
            return _json(500, {"error": "oops"})
        if self.defect == "bare_error":
            return _json(status, {"detail": message})
        sent = status if self.defect == "integer_code" else code
        error = {"message": message, "type": "invalid", "param": None, "code": sent}
        return _json(status, {"error": error})

    def _generate(self, body: Json, path: str):
        is_chat = "chat" in path
        count = 1 if self.defect == "n" else body.get("n", 1)
        choices = [self._choice(body, index, is_chat) for index in range(count)]
        prompt = 99 if self.defect == "token_ids" else _prompt_tokens(body)
        output = sum(choice.pop("count") for choice in choices)
        total = prompt + output + (self.defect == "usage_sum")
        usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": total}
        base = {"id": "x", "created": 1, "model": MODEL}
        if body.get("stream") and self.defect != "stream_ignored":
            return 200, "text/event-stream", self._events(base, choices, usage, body, is_chat)
        if self.defect == "html":
            return 200, "text/html", ["<html>busy</html>"]
        kind = "chat.completion" if is_chat else "text_completion"
        return _json(200, {**base, "object": kind, "choices": choices, "usage": usage})

    def _choice(self, body: Json, index: int, is_chat: bool) -> Json:
        words, finish = self._words(body, index)
        text, calls = "".join(words), None
        tool = self._tool(body)
        if tool:
            text, finish, calls = "", "tool_calls", [self._call(tool)]
        elif body.get("response_format", {}).get("type") == "json_schema":
            text = text if self.defect == "schema" else '{"mood": "calm", "warm": true}'
            finish = "stop"
        stop = body.get("stop")
        mark = next((m for m in [stop, *(stop or [])] if isinstance(m, str) and m in text), None)
        if mark is not None and len(mark) > 1 and self.defect != "stop":
            text = text[: text.find(mark)]
            finish = "length" if self.defect == "stop_finish" else "stop"
        if body.get("echo") and self.defect != "echo":
            text = body["prompt"] + text
        finish = "eos" if self.defect == "odd_finish" else finish
        scores = self._scores(words, body, is_chat) if body.get("logprobs") else None
        choice = {"index": index, "finish_reason": finish, "logprobs": scores, "count": len(words)}
        role = "user" if self.defect == "role" else "assistant"
        message = {"role": role, "content": text} | ({"tool_calls": calls} if calls else {})
        return choice | ({"message": message} if is_chat else {"text": text})

    def _words(self, body: Json, index: int) -> tuple[list[str], str]:
        most = body.get("max_tokens", body.get("max_completion_tokens", 16))
        most += self.defect == "max_tokens"
        seeded = None if self.defect == "seed" else body.get("seed")
        heat = 0 if self.defect == "temperature" else body.get("temperature", 1)
        if body.get("top_p", 1) < 0.1 and self.defect != "top_p":
            heat = 0
        noise = (heat, seeded if seeded is not None else object(), index) if heat else ()
        penalty = body.get("presence_penalty") if self.defect != "penalty" else None
        bias = body.get("logit_bias", {}) if self.defect != "logit_bias" else {}
        asked = json.dumps(body.get("messages", body.get("prompt")))
        words = []
        for place in range(most):
            mixed = f"{asked}{place}{noise}{penalty}".encode()
            number = int(hashlib.sha256(mixed).hexdigest(), 16) % 500
            words.append(f" {_spelt(next(iter(map(int, bias)), number))}")
        banned = body.get("bad_words", []) if self.defect != "bad_words" else []
        return [word for word in words if word.strip() not in banned], "length"

    def _tool(self, body: Json) -> str | None:
        choice = body.get("tool_choice")
        if self.defect == "tools" or choice in (None, "auto", "none"):
            return None
        return "get_weather" if choice == "required" else choice["function"]["name"]

    def _call(self, name: str) -> Json:
        value = {"city": "Oslo"} if name == "get_weather" else {"harbour": "Genoa"}
        text = '{"city": ' if self.defect == "bad_arguments" else json.dumps(value)
        found = "" if self.defect == "call_without_id" else "call_1"
        return {"id": found, "type": "function", "function": {"name": name, "arguments": text}}

    def _scores(self, words: list[str], body: Json, is_chat: bool):
        if self.defect == "logprobs":
            return None
        value = {"positive_logprob": 0.7, "nan": float("nan")}.get(self.defect, -0.1)
        rest = -0.1 if self.defect == "heavy_tops" else -5.0
        tops = [value, *[rest] * (body.get("top_logprobs", 1) - 1)]
        items = [
            {
                "token": word,
                "logprob": value,
                "bytes": None,
                "top_logprobs": [{"token": word, "logprob": top} for top in tops],
            }
            for word in words
        ]
        return {"content": items}

    def _events(
        self, base: Json, choices: list[Json], usage: Json, body: Json, is_chat: bool
    ) -> list[str]:
        kind = "chat.completion.chunk" if is_chat else "text_completion"
        counted = bool((body.get("stream_options") or {}).get("include_usage"))
        chunks = [
            {**base, "object": kind, "choices": [item], **({"usage": None} if counted else {})}
            for choice in choices
            for item in self._pieces(choice, is_chat)
        ]
        if counted:
            last = [choices[0] | {"delta": {}}] if self.defect == "usage_choices" else []
            chunks.append({**base, "object": kind, "choices": last, "usage": usage})
        if self.defect in ("false_done", "cut_stream"):
            chunks = chunks[:2]
        ends = [] if self.defect in ("no_done", "cut_stream") else [DONE]
        return [*map(json.dumps, chunks), *ends]

    def _pieces(self, choice: Json, is_chat: bool) -> list[Json]:
        index, finish = choice["index"], choice["finish_reason"]

        def piece(delta: Json, reason: str | None = None, scores: Any = None) -> Json:
            shown = {"delta": delta} if is_chat else {"text": delta.get("content", "")}
            return {"index": index, "finish_reason": reason, "logprobs": scores, **shown}

        message = choice.get("message", {"content": choice.get("text")})
        deltas = [{"content": f"{word} "} for word in message["content"].split(" ")]
        deltas[-1] = {"content": deltas[-1]["content"][:-1]}
        pieces = [piece({"role": "assistant", "content": ""})] if is_chat else []
        pieces += [piece(delta) for delta in deltas]
        pieces[-1]["logprobs"] = choice["logprobs"]
        for call in message.get("tool_calls", ()):
            first, text = dict(call["function"]), call["function"]["arguments"]
            head = {**call, "index": 0, "function": first | {"arguments": text[:4]}}
            tail = {"index": 0, "function": {"arguments": text[4:]}}
            pieces += [piece({"tool_calls": [head]}), piece({"tool_calls": [tail]})]
        ends = {"no_finish": 0, "finish_twice": 2}.get(self.defect, 1)
        return [*pieces, *[piece({}, finish) for _ in range(ends)]]


@asynccontextmanager
async def serving(defect: str = "") -> AsyncIterator[str]:
    """Serve the endpoint on a free port of the loopback address; yields its URL."""
    endpoint = Endpoint(defect)

    async def handle(request: web.Request) -> web.StreamResponse:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        raw = await request.read()
        status, kind, parts = endpoint.answer(request.method, request.path, raw, key)
        if defect == "hang_up" and request.method == "POST" and b'"seed"' in raw:
            assert request.transport is not None
            request.transport.abort()
        response = web.StreamResponse(status=status, headers={"content-type": kind})
        await response.prepare(request)
        is_stream = kind == "text/event-stream"
        for part in parts:
            await response.write((f"data: {part}\n\n" if is_stream else part).encode())
        if defect == "cut_stream" and is_stream:
            assert request.transport is not None
            request.transport.abort()
        await response.write_eof()
        return response

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _json(status: int, body: Json) -> tuple[int, str, list[str]]:
    return status, "application/json", [json.dumps(body)]


def _spelt(number: int) -> str:
    """Spell a token with letters only, so that it is a word."""
    return "tok" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _prompt_tokens(body: Json) -> int:
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        return len(prompt)
    return len(json.dumps([prompt, body.get("messages"), body.get("tools")])) // 4
