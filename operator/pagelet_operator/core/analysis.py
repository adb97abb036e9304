"""Is the canary worse than the stable revision? A verdict, with the evidence for it.

    Fail           the harm is above what is allowed even at the lower bound of what was measured
    Pass           the harm stays within it even at the upper bound
    Inconclusive   neither can be said yet: too few requests, or too close
    Error          nothing could be measured; only the source of the figures says so

No data is Inconclusive, whatever the rules. A canary is looked at again and again with a window
that grows, and every look is another chance to fail by accident. Looks at nearly the same data
err together, so the chance is spent per doubling of the window: the j-th may err with a
j(j+1)-th part of it, and the parts sum to the whole (stitching, as in Howard, Ramdas, McAuliffe
and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021). That the
looks within one doubling, and `failure_limit` of them in a row, stay below is not proven but
simulated: benchmarks/rollout_simulation.py.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from pagelet_operator.core.allowance import Limit, absolute, harm, relative
from pagelet_operator.core.measure import QUANTILES, Estimate, Metric, estimate, shown, stored
from pagelet_operator.core.window import Profile, Window

FAIL_RISK = 0.01
"""Chance that a harmless canary is ever judged Fail in one window, all looks and metrics
together; `failure_limit` looks in a row make it smaller."""

PASS_RISK = 0.1
"""Chance per look and bound that a harmful canary seems within what is allowed. Larger than the
risk of failing: a pass at one step is not the last word, and small samples should move on."""


class Verdict(StrEnum):
    """What one look, or one metric of it, says."""

    PASS = "Pass"  # noqa: S105
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


_WORST_FIRST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


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
    required: bool = True
    """Whether a pass needs it to be shown good. Without, it can only fail a canary: for tails,
    of which low traffic never shows enough."""


DEFAULT_RULES = (
    Rule(metric=Metric.ERROR_RATE, change_percent=1.0),
    Rule(metric=Metric.TIMEOUT_RATE, change_percent=1.0),
    Rule(metric=Metric.TTFT_P50, change_percent=25.0),
    Rule(metric=Metric.ITL_P50, change_percent=20.0),
    Rule(metric=Metric.ABANDON_RATE, change_percent=5.0, required=False),
    Rule(metric=Metric.TTFT_P95, change_percent=100.0, required=False),
    Rule(metric=Metric.ITL_P95, change_percent=100.0, required=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisPolicy:
    """How a canary is judged."""

    interval_s: float = 15.0
    """Time between looks."""
    min_requests: int = 20
    """Requests of the canary before anything is said of it. Those that still wait for their first
    token count for a Fail only."""
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


def judge(
    policy: AnalysisPolicy,
    canary: Window | None,
    baseline: Window | Profile | None,
    calm: Window | None = None,
) -> Judgement:
    """Judge a canary by its window and that of the stable revision over the same time.

    Args:
        policy: What is allowed.
        canary: What was measured of it since its step began; None if nothing was.
        baseline: The same of the stable revision, or a stored profile.
        calm: Stable in its calmest time, where the canary idles; its latencies count, too.
    """
    if canary is None:
        return Judgement(
            verdict=Verdict.INCONCLUSIVE, message="nothing was measured of the canary yet"
        )
    seen, waiting = _asked(canary), canary.waiting.total
    too_few = f"{seen} of {policy.min_requests} requests seen"
    if seen + waiting < policy.min_requests:
        return _judgement(canary, Verdict.INCONCLUSIVE, too_few)
    risk = fail_risk(policy, canary.span_s)
    metrics = tuple(_compared(rule, canary, baseline, calm, risk) for rule in policy.metrics)
    failed = [metric.message for metric in metrics if metric.verdict is Verdict.FAIL]
    if failed:
        if waiting:
            failed.append(f"{waiting} still wait for their first token")
        return _judgement(canary, Verdict.FAIL, "; ".join(failed), metrics)
    if seen < policy.min_requests:  # Those that wait may fail a canary and never pass it.
        return _judgement(canary, Verdict.INCONCLUSIVE, too_few, metrics)
    unsure = [
        metric.message
        for rule, metric in zip(policy.metrics, metrics, strict=True)
        if rule.required and metric.verdict is Verdict.INCONCLUSIVE
    ]
    if unsure:
        return _judgement(canary, Verdict.INCONCLUSIVE, "; ".join(unsure), metrics)
    return _judgement(canary, Verdict.PASS, "no worse than allowed", metrics)


def unmeasured(message: str) -> Judgement:
    """Return the judgement of a look whose figures could not be had."""
    return Judgement(verdict=Verdict.ERROR, message=message)


def fail_risk(policy: AnalysisPolicy, span_s: float) -> float:
    """Return the chance of a false Fail that one metric has in a look at a window this long."""
    doubling = max(1, int(span_s / policy.interval_s)).bit_length()
    return FAIL_RISK / (max(1, len(policy.metrics)) * doubling * (doubling + 1))


def _judgement(
    canary: Window, verdict: Verdict, message: str, metrics: tuple[MetricJudgement, ...] = ()
) -> Judgement:
    return Judgement(
        verdict=verdict,
        message=message,
        metrics=metrics,
        since=canary.since,
        until=canary.until,
        requests=_asked(canary),
    )


def _asked(canary: Window) -> int:
    return canary.requests + canary.fallbacks + canary.abandoned


def _compared(
    rule: Rule,
    canary: Window,
    baseline: Window | Profile | None,
    calm: Window | None,
    risk: float,
) -> MetricJudgement:
    """Judge one metric; a latency of a canary that idles has to bear both comparisons.

    A limit that is a figure by itself compares with nobody.
    """
    if calm is None or rule.change_percent is None or rule.metric not in QUANTILES:
        return _judge(rule, canary, baseline, risk)
    now = _judge(rule, canary, baseline, risk / 2)
    then = _judge(rule, canary, calm, risk / 2)
    then = replace(then, message=f"{then.message} at its calmest")
    return min(then, now, key=lambda found: _WORST_FIRST.index(found.verdict))


def _judge(
    rule: Rule,
    canary: Window,
    baseline: Window | Profile | None,
    risk: float,
) -> MetricJudgement:
    # Two bounds decide a comparison, one of each side, so each gets half of the risk.
    found = estimate(rule.metric, canary, low_risk=risk / 2, high_risk=PASS_RISK)
    if found is None:
        text = f"{rule.metric}: nothing was measured of the canary"
        return MetricJudgement(metric=rule.metric, verdict=Verdict.INCONCLUSIVE, message=text)
    stable = _stable(rule.metric, baseline, risk / 2)
    limits = _limits(rule, stable, canary.span_s)
    if limits is None:
        verdict, text = Verdict.INCONCLUSIVE, "nothing was measured of stable to compare with"
    else:
        verdict, text = _worst(harm(rule.metric, found), limits)
    return MetricJudgement(
        metric=rule.metric,
        verdict=verdict,
        message=f"{rule.metric} {shown(rule.metric, found.value)}, {text}",
        canary=found.value,
        baseline=stable.value if stable else None,
    )


def _stable(metric: Metric, baseline: Window | Profile | None, risk: float) -> Estimate | None:
    if isinstance(baseline, Profile):
        return stored(metric, baseline)
    if baseline is None:
        return None
    return estimate(metric, baseline, low_risk=PASS_RISK, high_risk=risk)


def _limits(rule: Rule, stable: Estimate | None, span_s: float) -> tuple[Limit, ...] | None:
    """Return every limit of a rule; None where one of them cannot be known."""
    limits = []
    if rule.limit is not None:
        limits.append(absolute(rule.metric, rule.limit))
    if rule.change_percent is not None:
        if stable is None:
            return None
        limits.append(relative(rule.metric, rule.change_percent, stable, span_s))
    return tuple(limits)


def _worst(found: Estimate, limits: tuple[Limit, ...]) -> tuple[Verdict, str]:
    compared = [(_compare(found, limit), limit.text) for limit in limits]
    return min(compared, key=lambda item: _WORST_FIRST.index(item[0]))


def _compare(found: Estimate, limit: Limit) -> Verdict:
    if limit.to_fail is not None and found.low > limit.to_fail:
        return Verdict.FAIL
    if found.high is not None and found.high <= limit.to_pass:
        return Verdict.PASS
    return Verdict.INCONCLUSIVE
