"""POST /v1/chat/completions and /v1/completions.

Both: read, check, tokenize, submit, answer. Whatever is wrong with a request is found before
`submit`; the HTTP status is decided by the first token, so an engine that fails before it gives a
proper error instead of a broken stream.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from dataclasses import replace
from functools import partial

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from pagelet_engine.server.body import read_json
from pagelet_engine.server.contradictions import check_options, demand_of, tools_of
from pagelet_engine.server.disconnect import unless_disconnected
from pagelet_engine.server.echo import Echo, echo_of
from pagelet_engine.server.gateway_headers import USAGE_HEADER
from pagelet_engine.server.logprobs import Scores
from pagelet_engine.server.openai_objects import (
    ChatFormat,
    CompletionFormat,
    Envelope,
    Format,
    usage,
)
from pagelet_engine.server.protocol import (
    ChatCompletionRequest,
    CompletionRequest,
    GenerationRequest,
    rendering,
)
from pagelet_engine.server.request_caps import RequestCaps
from pagelet_engine.server.sampling_fields import (
    choices,
    num_logprobs,
    sampling_params,
    wants_prompt_only,
)
from pagelet_engine.server.score_caps import ScoreCap
from pagelet_engine.server.service import Service
from pagelet_engine.server.sse import EventStream, begin, chunks, merge, unhurried, usage_comment
from pagelet_engine.server.text_stream import TextDelta, TextOptions, TextStream, joined
from pagelet_engine.server.tool_objects import ToolChatFormat
from pagelet_engine.server.validation import check_model, check_token_ids, validate
from pagelet_engine.terms import Terms
from pagelet_engine.text.reasoning import Thinking
from pagelet_engine.text.tokenizer import Tokenizer
from pagelet_engine.text.tools.demand import Tool

router = APIRouter()

_RAW = TextOptions()
"""All of the output is text."""


@router.post("/v1/chat/completions")
async def create_chat_completion(request: Request) -> Response:
    """Generate one assistant message; as server-sent events if `stream`.

    Source: https://platform.openai.com/docs/api-reference/chat/create
    """
    service: Service = request.app.state.service
    with ExitStack() as place:
        arrived_at = _enter(service, place)
        body = validate(ChatCompletionRequest, await read_json(request, service.max_body_bytes))
        check_model(body.model, service.model_name)
        check_options(body)
        caps = RequestCaps.of(request.state.caller, body.n)
        caps.check_output(body)
        tools = tools_of(body).tools
        prompt = await service.model().encoder.encode_chat(
            body.messages, tools, rendering(body, body.messages)
        )
        caps.check_prompts([prompt.token_ids])
        constraint = await _constrain(service, body, body.n, place, prompt.thinking)
        terms = _terms(request, body)
        reading = TextOptions(thinking=prompt.thinking, spoken=_spoken(service, tools))
        streams = _submit(
            service, body, [prompt.token_ids], arrived_at, constraint, terms, caps, reading
        )
        form = _chat_format(service, body, tools)
        return await _answer(request, body, streams, form, place)


@router.post("/v1/completions")
async def create_completion(request: Request) -> Response:
    """Continue one or several raw prompts, given as text or token ids.

    Source: https://platform.openai.com/docs/api-reference/completions/create
    """
    service: Service = request.app.state.service
    with ExitStack() as place:
        arrived_at = _enter(service, place)
        body = validate(CompletionRequest, await read_json(request, service.max_body_bytes))
        check_model(body.model, service.model_name)
        check_options(body)
        caps = RequestCaps.of(request.state.caller, len(body.prompt) * body.n)
        caps.check_output(body)
        prompts = [await _token_ids(service, prompt) for prompt in body.prompt]
        caps.check_prompts(prompts)
        constraint = await _constrain(service, body, len(prompts) * body.n, place)
        terms = _terms(request, body)
        streams = _submit(service, body, prompts, arrived_at, constraint, terms, caps)
        envelope, scores = _envelope(service, body, "cmpl"), _scores(service, body)
        form = CompletionFormat(envelope, scores, body.n)
        return await _answer(request, body, streams, form, place)


def _enter(service: Service, place: ExitStack) -> float:
    """Count the request until `place` is closed; return when it arrived, loop time."""
    place.enter_context(service.lifecycle.admit())
    return asyncio.get_running_loop().time()


async def _token_ids(service: Service, prompt: str | list[int]) -> list[int]:
    model = service.model()
    if isinstance(prompt, str):
        return await model.encoder.encode_prompt(prompt)
    if len(prompt) < model.max_model_len:  # a longer one is refused for its length
        check_token_ids(prompt, model.limits.vocab_size, "prompt")
    return prompt


async def _constrain(
    service: Service,
    body: GenerationRequest,
    num_sequences: int,
    place: ExitStack,
    thinking: Thinking = Thinking.CLOSED,
) -> str | None:
    """Compile what the request demands of its output; the process for it ends with `place`."""
    demand = demand_of(body, service.model().text.dialect, thinking)
    if demand is None:
        return None
    constraint, param = demand
    return await service.constrain(constraint, num_sequences, param, place)


def _submit(
    service: Service,
    body: GenerationRequest,
    prompts: Sequence[list[int]],
    arrived_at: float,
    constraint: str | None,
    terms: Terms,
    caps: RequestCaps,
    reading: TextOptions = _RAW,
) -> list[TextStream]:
    model = service.model()
    bad_words = _bad_words(model.text.tokenizer, body.bad_words)
    samplings = [
        caps.lowered(
            sampling_params(
                body,
                num_prompt_tokens=len(prompt),
                max_model_len=model.max_model_len,
                vocab_size=model.limits.vocab_size,
                eos_token_ids=frozenset(model.limits.eos_token_ids),
                bad_words=bad_words,
            )
        )
        for prompt in prompts
    ]
    samplings = ScoreCap.of(body).applied(samplings, prompts)
    echoes = _echoes(model.text.tokenizer, body, prompts)
    each = [choice for sampling in samplings for choice in choices(sampling, body.n)]
    options = [
        replace(
            reading,
            stops=tuple(body.stop),
            include_stop=body.include_stop_str_in_output,
            echo=echoes[index // body.n],
            prompt_only=wants_prompt_only(body),
            counts_prompt=index % body.n == 0,
        )
        for index in range(len(each))
    ]
    repeated = [prompt for prompt in prompts for _ in range(body.n)]
    return service.submit(
        repeated, each, options, arrived_at=arrived_at, constraint=constraint, terms=terms
    )


def _spoken(service: Service, tools: Sequence[Tool]) -> frozenset[int]:
    """Return the control tokens that must be seen to tell calls and thoughts from text."""
    dialect = service.model().text.dialect
    return frozenset(dialect.thought_ids.values()).union(
        dialect.tools.control_ids.values() if tools else ()
    )


def _terms(request: Request, body: GenerationRequest) -> Terms:
    service: Service = request.app.state.service
    return service.terms_of(request.state.caller, (body.timeout, request.state.deadline_s))


def _echoes(
    tokenizer: Tokenizer, body: GenerationRequest, prompts: Sequence[list[int]]
) -> Sequence[Echo | None]:
    if not isinstance(body, CompletionRequest) or not body.echo:
        return [None] * len(prompts)
    pairs = zip(body.prompt, prompts, strict=True)
    return [echo_of(tokenizer, given, token_ids) for given, token_ids in pairs]


def _scores(service: Service, body: GenerationRequest) -> Scores:
    return Scores(service.model().text.tokenizer, num_logprobs(body), body.prompt_logprobs)


def _bad_words(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return each word's token ids at the start of a text and after a space."""
    runs = {tuple(tokenizer.encode(form)) for word in words for form in (word, f" {word}")}
    return tuple(sorted(runs))


async def _answer(
    request: Request,
    body: GenerationRequest,
    streams: Sequence[TextStream],
    form: Format,
    place: ExitStack,
) -> Response:
    service: Service = request.app.state.service
    request.state.streams = streams  # for whoever traces the request
    with ExitStack() as open_streams:
        for stream in streams:
            open_streams.callback(stream.close)
        if not body.stream:
            whole = await unless_disconnected(request.receive, _collect(streams, form))
            return Response(whole, media_type="application/json")
        rest = chunks(streams, form, include_usage=_includes_usage(body))
        first = await begin(rest, request.receive, service.pace.keep_alive_s)
        open_streams.push(place.pop_all())
        account = partial(usage_comment, streams) if _is_asked_for_usage(request) else bytes
        return EventStream(first, rest, open_streams.pop_all(), service.pace, account)


async def _collect(streams: Sequence[TextStream], form: Format) -> bytes:
    """Return the whole answer as JSON."""
    texts: list[list[TextDelta]] = [[] for _ in streams]
    async with aclosing(merge(streams)) as deltas:
        async for index, delta in deltas:
            texts[index].append(delta)
    answers = [joined(parts) for parts in texts]
    counts = usage(streams)
    return await unhurried(answers, lambda: orjson.dumps(form.whole(answers, counts)))


def _chat_format(
    service: Service, body: ChatCompletionRequest, tools: Sequence[Tool]
) -> ChatFormat:
    envelope, scores = _envelope(service, body, "chatcmpl"), _scores(service, body)
    if not tools:
        return ChatFormat(envelope, scores)
    notation = service.model().text.dialect.tools
    return ToolChatFormat(envelope, scores, [tool.name for tool in tools], notation)


def _includes_usage(body: GenerationRequest) -> bool:
    return body.stream_options is not None and body.stream_options.include_usage


def _is_asked_for_usage(request: Request) -> bool:
    """Whether whoever sent the request accounts for it, whatever the client wants to see."""
    return request.headers.get(USAGE_HEADER) == "1"


def _envelope(service: Service, body: GenerationRequest, prefix: str) -> Envelope:
    return Envelope(
        f"{prefix}-{uuid.uuid4().hex}",
        service.model_name,
        int(time.time()),
        service.model().fingerprint,
        usage_follows=_includes_usage(body),
    )
