"""Is the canary worse than the stable revision? A verdict, with the evidence for it.

    Fail           the harm is above what is allowed even at the lower bound of what was measured
    Pass           the harm stays within it even at the upper bound
    Inconclusive   neither can be said yet: too few requests, or too close
    Error          nothing could be measured; only the source of the figures says so

No data is Inconclusive, whatever the rules. A canary is looked at again and again with a window
that grows, and every look is another chance to fail by accident. So look number k may err with
a k(k+1)-th part of `FAIL_RISK` only; the parts sum to the whole (Bonferroni's inequality over
all looks and metrics, whatever their dependence).
"""

from dataclasses import dataclass
from enum import StrEnum

from pagelet_operator.core.measure import (
    RATES,
    Estimate,
    Metric,
    estimate,
    shown,
    stored,
)
from pagelet_operator.core.window import Profile, Window

FAIL_RISK = 0.01
"""Chance that a harmless canary is ever judged Fail in one window, all looks and metrics
together; `failure_limit` looks in a row make it smaller."""

PASS_RISK = 0.1
"""Chance per look and bound that a harmful canary seems within what is allowed. Larger than the
risk of failing: a pass at one step is not the last word, and small samples should move on."""

QUEUE_SLACK = 1.0
"""Waiting sequences by which a canary's queue may always exceed the stable's: one is noise."""


class Verdict(StrEnum):
    """What one look, or one metric of it, says."""

    PASS = "Pass"  # noqa: S105
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


class Baseline(StrEnum):
    """What the canary is compared with."""

    CONCURRENT = "Concurrent"
    """The stable revision over the same window."""
    FIXED = "Fixed"
    """The figures of a stored profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one metric may be; at least one limit is set, and each must hold by itself."""

    metric: Metric
    limit: float | None = None
    """Most it may be: seconds, percent or waiting sequences. Of tokens per second the least."""
    change_percent: float | None = None
    """How much worse than the baseline it may be: percent of the baseline's value. Of rates,
    percentage points, since percent of a rate near 0 mean nothing."""


DEFAULT_RULES = (
    Rule(metric=Metric.ERROR_RATE, change_percent=2.0),
    Rule(metric=Metric.TIMEOUT_RATE, change_percent=2.0),
    Rule(metric=Metric.TTFT_P95, change_percent=75.0),
    Rule(metric=Metric.ITL_P95, change_percent=50.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisPolicy:
    """How a canary is judged."""

    interval_s: float = 15.0
    """Time between looks."""
    min_requests: int = 20
    """Requests of the canary before anything is said of it."""
    failure_limit: int = 2
    """Fail verdicts in a row after which the canary is withdrawn."""
    baseline: Baseline = Baseline.CONCURRENT
    metrics: tuple[Rule, ...] = DEFAULT_RULES
    """Without any, nothing is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricJudgement:
    """One metric of one look. Values are in the metric's own unit."""

    metric: Metric
    verdict: Verdict
    message: str
    canary: float | None = None
    baseline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One look at a canary."""

    verdict: Verdict
    message: str
    """Why, for people: of a Fail every metric that failed, else what is missing."""
    metrics: tuple[MetricJudgement, ...] = ()
    since: float | None = None
    """The window judged, Unix seconds; None where there was none."""
    until: float | None = None
    requests: int = 0
    """The canary's, in the window."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """What a metric may be, in terms of harm: more is worse."""

    to_fail: float | None
    """A harm that is surely above this fails; None where nothing can."""
    to_pass: float
    """A harm that is surely below this passes."""
    text: str


def judge(
    policy: AnalysisPolicy, canary: Window | None, baseline: Window | Profile | None
) -> Judgement:
    """Judge a canary by its window and that of the stable revision over the same time.

    Args:
        policy: What is allowed.
        canary: What was measured of it since its step began; None if nothing was.
        baseline: The same of the stable revision, or a stored profile.
    """
    if canary is None:
        return Judgement(
            verdict=Verdict.INCONCLUSIVE, message="nothing was measured of the canary yet"
        )
    seen = canary.requests + canary.fallbacks
    if seen < policy.min_requests:
        text = f"{seen} of {policy.min_requests} requests seen"
        return _judgement(canary, Verdict.INCONCLUSIVE, text)
    risk = fail_risk(policy, canary.span_s)
    metrics = tuple(_judge(rule, canary, baseline, risk) for rule in policy.metrics)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        said = [metric.message for metric in metrics if metric.verdict is verdict]
        if said:
            return _judgement(canary, verdict, "; ".join(said), metrics)
    return _judgement(canary, Verdict.PASS, "no worse than allowed", metrics)


def unmeasured(message: str) -> Judgement:
    """Return the judgement of a look whose figures could not be had."""
    return Judgement(verdict=Verdict.ERROR, message=message)


def fail_risk(policy: AnalysisPolicy, span_s: float) -> float:
    """Return the chance of a false Fail that one metric has in a look at a window this long."""
    look = max(1, int(span_s / policy.interval_s))
    return FAIL_RISK / (max(1, len(policy.metrics)) * look * (look + 1))


def _judgement(
    canary: Window, verdict: Verdict, message: str, metrics: tuple[MetricJudgement, ...] = ()
) -> Judgement:
    return Judgement(
        verdict=verdict,
        message=message,
        metrics=metrics,
        since=canary.since,
        until=canary.until,
        requests=canary.requests + canary.fallbacks,
    )


def _judge(
    rule: Rule, canary: Window, baseline: Window | Profile | None, risk: float
) -> MetricJudgement:
    # Two bounds decide a comparison, one of each side, so each gets half of the risk.
    strict = _harm(rule.metric, estimate(rule.metric, canary, risk / 2))
    loose = _harm(rule.metric, estimate(rule.metric, canary, PASS_RISK))
    value = estimate(rule.metric, canary, PASS_RISK)
    if strict is None or loose is None or value is None:
        text = f"{rule.metric}: nothing was measured of the canary"
        return MetricJudgement(metric=rule.metric, verdict=Verdict.INCONCLUSIVE, message=text)
    against = _baseline(rule.metric, baseline, PASS_RISK)
    limits = _limits(rule, baseline, risk / 2)
    if limits is None:
        verdict, text = Verdict.INCONCLUSIVE, "nothing was measured of stable to compare with"
    else:
        verdict, text = _worst(strict, loose, limits)
    return MetricJudgement(
        metric=rule.metric,
        verdict=verdict,
        message=f"{rule.metric} {shown(rule.metric, value.value)}, {text}",
        canary=value.value,
        baseline=None if against is None else against.value,
    )


def _worst(strict: Estimate, loose: Estimate, limits: tuple[_Limit, ...]) -> tuple[Verdict, str]:
    found = [(_compare(strict, loose, limit), limit.text) for limit in limits]
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
    return min(found, key=lambda item: order.index(item[0]))


def _compare(strict: Estimate, loose: Estimate, limit: _Limit) -> Verdict:
    if limit.to_fail is not None and strict.low > limit.to_fail:
        return Verdict.FAIL
    # A lower value of the canary itself must not fail to pass for want of a bound above.
    if loose.high is not None and loose.high <= limit.to_pass:
        return Verdict.PASS
    return Verdict.INCONCLUSIVE


def _limits(
    rule: Rule, baseline: Window | Profile | None, risk: float
) -> tuple[_Limit, ...] | None:
    """Return every limit of a rule; None where one of them cannot be known."""
    limits = []
    if rule.limit is not None:
        harm = _harm_of(rule.metric, rule.limit)
        limits.append(_Limit(harm, harm, f"allowed {shown(rule.metric, rule.limit)}"))
    if rule.change_percent is not None:
        strict = _harm(rule.metric, _baseline(rule.metric, baseline, risk))
        loose = _harm(rule.metric, _baseline(rule.metric, baseline, PASS_RISK))
        if strict is None or loose is None:
            return None
        limits.append(_relative(rule, strict, loose))
    return tuple(limits)


def _relative(rule: Rule, strict: Estimate, loose: Estimate) -> _Limit:
    value = _harm_of(rule.metric, loose.value)
    stable = f"stable has {shown(rule.metric, value)}, allowed are"
    return _Limit(
        to_fail=None if strict.high is None else _worsened(rule, strict.high),
        to_pass=_worsened(rule, loose.low),
        text=f"{stable} {shown(rule.metric, _harm_of(rule.metric, _worsened(rule, loose.value)))}",
    )


def _worsened(rule: Rule, harm: float) -> float:
    """Return a harm made worse by what the rule allows."""
    change = rule.change_percent or 0.0
    if rule.metric in RATES:
        return harm + change
    if rule.metric is Metric.TOKENS_PER_SECOND:
        return harm / max(1e-9, 1.0 - change / 100)
    slack = QUEUE_SLACK if rule.metric is Metric.QUEUE_DEPTH else 0.0
    return harm * (1.0 + change / 100) + slack


def _baseline(metric: Metric, baseline: Window | Profile | None, risk: float) -> Estimate | None:
    if isinstance(baseline, Profile):
        return stored(metric, baseline)
    return None if baseline is None else estimate(metric, baseline, risk)


def _harm(metric: Metric, found: Estimate | None) -> Estimate | None:
    """Return an estimate of which more is worse: seconds per token in place of its inverse."""
    if found is None or metric is not Metric.TOKENS_PER_SECOND:
        return found
    harm = _harm_of(metric, found.value)
    return Estimate(harm, harm, harm)


def _harm_of(metric: Metric, value: float) -> float:
    """Turn a value into harm, or back."""
    if metric is not Metric.TOKENS_PER_SECOND:
        return value
    return 1.0 / value if value > 0 else float("inf")
