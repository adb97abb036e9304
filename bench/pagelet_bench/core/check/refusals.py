"""Reads refusals where a 4xx is right, and whether their body is OpenAI's error object."""

from collections.abc import Generator

from pagelet_bench.core.check.answers import message, must, stop
from pagelet_bench.core.check.exchange import Exchange, Request, parsed
from pagelet_bench.core.check.verdict import Finding, Verdict, honoured

_BUSY = (408, 429, 503)


def ask_refusal(request: Request, otherwise: str) -> Generator[Request, Exchange, Exchange]:
    """Send what must be refused and return the refusal; `otherwise` says what success means."""
    return check_refusal((yield request), otherwise)


def check_refusal(exchange: Exchange, otherwise: str) -> Exchange:
    """End the probe unless the answer is a 4xx."""
    must(not exchange.failure, exchange.failure)
    if exchange.status in _BUSY:
        stop(Verdict.UNTESTABLE, f"HTTP {exchange.status}: the endpoint is busy")
    if 200 <= exchange.status < 300:
        stop(Verdict.IGNORED, otherwise)
    is_no = 400 <= exchange.status < 500
    must(is_no, f"HTTP {exchange.status} where a 4xx is due: {message(exchange)}")
    return exchange


def refused(exchange: Exchange) -> Finding:
    """Return the finding that the endpoint refused what it must, and its words."""
    return honoured(f"HTTP {exchange.status}: {message(exchange)}")


def error_code(exchange: Exchange) -> str | None:
    """Return the code of a refusal's error object.

    `{"error": {"message", "type", "param", "code"}}`: message and type are strings, param and
    code strings or null. Clients match on the code, so a number there is broken.
    """
    body = parsed(exchange.text)
    must(isinstance(body, dict), f"the error is not a JSON object: {exchange.text[:80]!r}")
    error = body.get("error")
    must(isinstance(error, dict), f"the body has no error object: {exchange.text[:80]!r}")
    said, code, param = error.get("message"), error.get("code"), error.get("param")
    must(isinstance(said, str) and said != "", "the error's message is not a string")
    must(isinstance(error.get("type"), str), f"the error's type is {error.get('type')!r}")
    must(code is None or isinstance(code, str), f"the error's code is {code!r}, not a string")
    must(param is None or isinstance(param, str), f"the error's param is {param!r}, not a string")
    return code if isinstance(code, str) else None
