"""Passes an engine's answer on, part by part, as it arrives.

Nothing is buffered beyond one read: the next read waits until the last part is sent, so a
client that reads slowly slows the engine's stream down and nothing piles up here.
"""

import time
from typing import Any

import structlog

from pagelet_gateway.errors import RefusalError, ServingError
from pagelet_gateway.metrics import Metrics, Outcome
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.elsewhere import answer_headers, mark
from pagelet_gateway.server.error_event import blames_request, is_deadline
from pagelet_gateway.server.exchange import Headers, error_object
from pagelet_gateway.server.headers import to_client
from pagelet_gateway.server.sse import EventGate, OversizedEventError
from pagelet_gateway.server.upstream import Answer, BrokenStreamError, StalledError
from pagelet_gateway.server.usage import Tail

log = structlog.get_logger("pagelet.gateway")


class CutError(Exception):
    """The answer ends before its end.

    Attributes:
        reason: Label of `pagelet_gateway_streams_cut_total`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


BLAMES_ENGINE = frozenset({"upstream_died", "incomplete", "oversized_event", "stalled"})
"""Reasons that count against the endpoint; others are the client's, or ours."""


async def relay(call: Call, answer: Answer, metrics: Metrics) -> None:
    """Send the whole answer; sets `call.outcome`.

    Raises:
        CutError: The engine's answer broke off after the first byte went out.
    """
    status = answer.response.status
    await call.exchange.start(status, _headers(call, answer))
    try:
        if answer.is_event_stream:
            await _relay_events(call, answer, metrics)
        else:
            await _relay_bytes(call, answer)
    except BrokenStreamError as error:
        log.warning("engine went away in an answer", model=call.model, detail=str(error))
        if not await _finish_if_done(call):
            raise CutError("upstream_died", "The engine went away before the end.") from None
    except StalledError:
        if not await _finish_if_done(call):
            raise CutError("stalled", "The engine fell silent before the end.") from None
    call.outcome = _outcome(status)
    if call.gate is not None and call.gate.error is not None:
        _count_error(call, call.gate.error, metrics)


def _headers(call: Call, answer: Answer) -> Headers:
    raw, target = answer.response.raw_headers, call.target
    assert target is not None
    if target.link is not None and target.link.external is not None:
        headers = answer_headers(raw)
    else:
        headers = to_client(raw, revision=target.revision)
    if target.link is not None:
        headers.append(mark(target.link))
    if answer.is_event_stream:
        # A stream that breaks gets an event more than was announced.
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    return headers


async def _relay_bytes(call: Call, answer: Answer) -> None:
    part, tail = answer.first, Tail()
    while part:
        tail.feed(part)
        await call.exchange.send(part)
        part = await answer.read()
    call.usage = tail.usage()
    await call.exchange.finish()


async def _relay_events(call: Call, answer: Answer, metrics: Metrics) -> None:
    gate = call.gate = EventGate()
    observe_itl = metrics.itl.labels(call.model, call.revision).observe
    last_at = 0.0
    part = answer.first
    while part:
        before = gate.num_token_events
        try:
            ready = gate.feed(part)
        except OversizedEventError:
            raise CutError("oversized_event", "The engine sent an oversized event.") from None
        if ready:
            await call.exchange.send(ready)
        if together := gate.num_token_events - before:
            now = time.monotonic()
            if not last_at:
                ttft_s = now - call.started_at
                call.ttft_s = ttft_s
                metrics.ttft.labels(call.model, call.revision).observe(ttft_s)
            else:
                observe_itl(now - last_at)
            if together > 1:
                # What comes together leaves together: no time lies between its tokens.
                observe_itl(0.0, together - 1)
            last_at = now
        part = await answer.read()
    await _finish_events(call, gate)


async def _finish_events(call: Call, gate: EventGate) -> None:
    last = gate.close()
    if not gate.is_finished:
        raise CutError("incomplete", "The engine's stream ended without its end mark.")
    await call.exchange.finish(last)


async def _finish_if_done(call: Call) -> bool:
    """End an answer whose connection failed, if its end mark has gone out before."""
    if call.gate is None or not call.gate.is_finished:
        return False
    await call.exchange.finish()
    return True


async def end_early(call: Call, answer: Answer, error: CutError) -> None:
    """End a started answer so that no client takes it for complete.

    Server-sent events end with an error event and no `[DONE]`. Anything else is left without
    its end: the connection closes, and the client sees a body shorter than announced.
    """
    if not answer.is_event_stream:
        return
    refusal: RefusalError = ServingError(str(error), code=f"stream_{error.reason}")
    await call.exchange.finish(b"data: " + error_object(refusal) + b"\n\n")


def _count_error(call: Call, said: Any, metrics: Metrics) -> None:
    """Count an answer that its engine ended with an error event: whole for its client to read,
    and yet no good answer."""
    if is_deadline(said):
        call.outcome, reason = Outcome.TIMEOUT, "timeout"
        metrics.timeouts.labels(call.model, call.revision, "stream").inc()
    elif blames_request(said):
        call.outcome = Outcome.CLIENT_ERROR
        return
    else:
        call.outcome, reason = Outcome.CUT, "engine_error"
        call.is_engine_to_blame = True
    metrics.streams_cut.labels(call.model, call.revision, reason).inc()
    log.warning("engine ended an answer", model=call.model, revision=call.revision, reason=reason)


def _outcome(status: int) -> Outcome:
    if status < 400:
        return Outcome.OK
    return Outcome.CLIENT_ERROR if status < 500 else Outcome.UPSTREAM_ERROR
