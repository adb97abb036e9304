"""The report as data for a JSON file: verdicts, and the exchanges behind them, bounded."""

import json
from typing import Any

from pagelet_bench.core.check.exchange import Exchange
from pagelet_bench.core.check.report import EndpointReport
from pagelet_bench.core.check.trial import Outcome
from pagelet_bench.core.check.verdict import fails

MAX_TEXT_CHARS = 1500
MAX_EVENTS = 6
_HEADERS = ("content-type", "x-request-id", "retry-after", "server", "allow")


def endpoint_record(report: EndpointReport) -> dict[str, Any]:
    """Return one endpoint's part of the document; its size is bounded, whatever was answered."""
    return {
        "url": report.url,
        "model": report.model,
        "server": report.server,
        "counts": {verdict.value: count for verdict, count in report.counts.items()},
        "failing": [outcome.probe.id for outcome in report.failing],
        "probes": [_outcome(outcome) for outcome in report.outcomes],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    probe, finding = outcome.probe, outcome.finding
    return {
        "id": probe.id,
        "field": probe.field,
        "need": probe.need.value,
        "proves": probe.proves,
        "verdict": finding.verdict.value,
        "fails": fails(finding.verdict, probe.need),
        "evidence": finding.evidence,
        "exchanges": [_exchange(exchange) for exchange in outcome.exchanges],
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    request = exchange.request
    sent = None if request.body is None else json.dumps(request.body, ensure_ascii=False)
    record: dict[str, Any] = {
        "request": f"{request.method} {request.path}",
        "body": _cut(sent if request.raw is None else repr(request.raw)),
        "status": exchange.status,
        "headers": {
            name: _cut(text) for name, text in exchange.headers.items() if name in _HEADERS
        },
        "answer": _cut(exchange.text),
    }
    if exchange.events:
        record["num_events"] = len(exchange.events)
        record["events"] = [_cut(data, 400) for data in _ends(exchange.events)]
    if exchange.failure:
        record["failure"] = exchange.failure
    return record


def _ends(events: tuple[str, ...]) -> tuple[str, ...]:
    """Keep a stream's first and last events: where framing goes wrong."""
    if len(events) <= MAX_EVENTS:
        return events
    half = MAX_EVENTS // 2
    return (*events[:half], *events[-half:])


def _cut(text: str | None, most: int = MAX_TEXT_CHARS) -> str | None:
    return text if text is None or len(text) <= most else text[: most - 1] + "…"
