"""Warm-up: a few requests straight to the canary, so that no user gets its first answer."""

from collections.abc import Mapping

from pagelet_operator.core.gates import GateResult, GateStatus


def judge(figures: Mapping[str, float]) -> GateResult:
    """Return a warm-up's result: every request has to succeed; how fast is only told.

    Args:
        figures: `requests` sent, `failed` of them, `firstTtft` and `ttftP50` of those after the
            first, seconds.
    """
    sent, failed = figures.get("requests", 0.0), figures.get("failed", 0.0)
    if not sent:
        return GateResult(status=GateStatus.ERROR, message="no request was sent")
    if failed:
        text = f"{failed:.0f} of {sent:.0f} requests failed"
        return GateResult(status=GateStatus.FAILED, message=text, figures=figures)
    told = f"{sent:.0f} requests answered{_first(figures)}"
    return GateResult(status=GateStatus.PASSED, message=told, figures=figures)


def _first(figures: Mapping[str, float]) -> str:
    first, later = figures.get("firstTtft"), figures.get("ttftP50")
    if first is None:
        return ""
    after = "" if later is None else f", {1000 * later:.0f} ms of the following"
    return f"; TTFT {1000 * first:.0f} ms of the first{after}"
