"""`spec.rollout.analysis`: when a canary counts as worse than the stable revision.

A change of it restarts nothing and takes effect at the next look.
"""

import re
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from pagelet_operator.api.quantities import Timeout, seconds
from pagelet_operator.api.wire import WireModel, cel_rule
from pagelet_operator.core.analysis import DEFAULT_RULES, AnalysisPolicy, Baseline, Rule
from pagelet_operator.core.measure import QUANTILES, RATES, Metric

MAX_METRICS = 12

MetricName = Literal[
    "ttftP50", "ttftP95", "ttftP99", "itlP50", "itlP95", "itlP99",
    "errorRate", "refusalRate", "timeoutRate", "fallbackRate", "abandonRate",
    "queueDepth", "tokensPerSecond",
]  # fmt: skip

_NUMBER = r"[0-9]+(\.[0-9]+)?"
_LIMIT_PATTERN = rf"^{_NUMBER}(ms|s|%)?$"
_SHARE_PATTERN = r"^0*[0-9]{1,2}([.][0-9]+)?%$"
"""Percent below 100."""

_MORE_IS_WORSE = "queueDepth, rates and latencies have max and maxIncreasePercent"
_LESS_IS_WORSE = "tokensPerSecond has min and maxDecreasePercent"
_ONE_LIMIT = "needs max or maxIncreasePercent (tokensPerSecond: min or maxDecreasePercent)"
_BELOW_100 = "a rate's limits are below 100, which is all there is: lower them"
_ABOVE_0 = "a latency's max is above 0, which no answer meets, and a min, too, which every one does"
_UNITS = "write a latency as 800ms or 2s, a rate as 1.5%, anything else as a plain number"


class AnalysisMetric(WireModel):
    """What one metric of a canary may be; each limit given must hold."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel_rule(
                    "has(self.max) || has(self.maxIncreasePercent) || has(self.min) || "
                    "has(self.maxDecreasePercent)",
                    _ONE_LIMIT,
                ),
                cel_rule(
                    "self.name == 'tokensPerSecond' || !(has(self.min) || "
                    "has(self.maxDecreasePercent))",
                    _MORE_IS_WORSE,
                ),
                cel_rule(
                    "self.name != 'tokensPerSecond' || !(has(self.max) || "
                    "has(self.maxIncreasePercent))",
                    _LESS_IS_WORSE,
                ),
                cel_rule(
                    "!has(self.max) || (self.name.endsWith('Rate') ? self.max.endsWith('%') : "
                    "(self.name == 'queueDepth' ? self.max.matches('[0-9]$') : "
                    "self.max.endsWith('s')))",
                    _UNITS,
                ),
                cel_rule("!has(self.min) || self.min.matches('[0-9]$')", _UNITS),
                cel_rule(
                    "!self.name.endsWith('Rate') || (!has(self.max) || "
                    f"self.max.matches('{_SHARE_PATTERN}')) && "
                    "(!has(self.maxIncreasePercent) || self.maxIncreasePercent < 100)",
                    _BELOW_100,
                ),
                cel_rule(
                    "(!has(self.max) || !self.max.endsWith('s') || self.max.matches('[1-9]')) && "
                    "(!has(self.min) || self.min.matches('[1-9]'))",
                    _ABOVE_0,
                ),
            ]
        }
    )

    name: MetricName = Field(
        description=(
            "ttftP50, ttftP95, ttftP99 and itlP50, itlP95, itlP99: time to the first token and "
            "between tokens, as the gateway sees them. errorRate (5xx, no answer, broken off), "
            "refusalRate (4xx), timeoutRate, fallbackRate (dealt to the canary, answered by "
            "another), abandonRate (the client left before the answer was whole): shares of its "
            "requests. queueDepth: waiting requests per replica, mean. "
            "tokensPerSecond: output tokens per second of request time."
        )
    )
    max: str | None = Field(
        default=None,
        pattern=_LIMIT_PATTERN,
        max_length=16,
        description=(
            "Most it may be, such as 800ms, 1.5% or 8 (queueDepth); a rate's is below 100%, a "
            "latency's above 0. Default: no limit."
        ),
    )
    max_increase_percent: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description=(
            "How much more than stable's it may be, percent of stable's; of a rate, percentage "
            "points below 100, since percent of a rate near 0 mean nothing. Default: no limit."
        ),
    )
    min: str | None = Field(
        default=None,
        pattern=_LIMIT_PATTERN,
        max_length=16,
        description="Least that tokensPerSecond may be, above 0. Default: no limit.",
    )
    max_decrease_percent: int | None = Field(
        default=None,
        ge=0,
        lt=100,
        description="How much less than stable's tokensPerSecond may be, percent of stable's.",
    )

    required: bool = Field(
        default=True,
        description=(
            "Whether a pass needs this to be shown good. With false it can only fail a canary: for "
            "tails, of which low traffic never shows enough."
        ),
    )

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        more = (self.max, self.max_increase_percent)
        less = (self.min, self.max_decrease_percent)
        if all(limit is None for limit in (*more, *less)):
            raise ValueError(f"{self.name} {_ONE_LIMIT}")
        falls = self.name == "tokensPerSecond"
        if any(limit is not None for limit in (more if falls else less)):
            raise ValueError(_LESS_IS_WORSE if falls else _MORE_IS_WORSE)
        for limit in (self.max, self.min):
            if limit is not None and not re.fullmatch(_form(Metric(self.name)), limit):
                raise ValueError(f"{self.name} {limit!r}: {_UNITS}")
        return self

    @model_validator(mode="after")
    def _limits_can_be_kept_and_broken(self) -> Self:
        metric, more = Metric(self.name), self.max_increase_percent
        if metric in RATES:
            is_all = self.max is not None and not re.fullmatch(_SHARE_PATTERN, self.max)
            if is_all or (more is not None and more >= 100):
                raise ValueError(f"{self.name}: {_BELOW_100}")
        least = self.max if metric in QUANTILES else self.min
        if least is not None and not re.search("[1-9]", least):
            raise ValueError(f"{self.name} {least!r}: {_ABOVE_0}")
        return self


class Analysis(WireModel):
    """When a canary counts as worse than the stable revision."""

    interval: Timeout = Field(
        default="15s",
        description=(
            "Time between looks. 15s: a bad canary is withdrawn in under a minute, and many looks "
            "cost certainty."
        ),
    )
    min_requests: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description=(
            "Requests of the canary in a step before anything is said of it; those that still "
            "wait for their first token count for a Fail only."
        ),
    )
    failure_limit: int = Field(
        default=2,
        ge=1,
        le=100,
        description=(
            "Looks in a row that must say Fail before the canary is withdrawn. 2: one look may "
            "fall into a burst."
        ),
    )
    baseline: Literal["Concurrent", "Fixed"] = Field(
        default="Concurrent",
        description=(
            "What increases are measured from: the stable revision at the same time (Concurrent, "
            "so that a busy hour blames nobody), or the stored profile of its load test (Fixed)."
        ),
    )
    metrics: list[AnalysisMetric] = Field(
        default_factory=lambda: [_written(rule) for rule in DEFAULT_RULES],
        max_length=MAX_METRICS,
        description=(
            "What is judged. The default compares errors, time-outs, clients that left, median "
            "and p95 of TTFT and ITL with stable's. An empty list judges nothing: steps then end "
            "by time alone."
        ),
        json_schema_extra={
            "x-kubernetes-validations": [
                cel_rule(
                    "self.all(a, self.exists_one(b, b.name == a.name))",
                    "a metric is named twice",
                )
            ]
        },
    )

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [metric.name for metric in self.metrics]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"metrics: {', '.join(twice)} is named twice")
        return self


def analysis_policy(analysis: Analysis) -> AnalysisPolicy:
    """Translate to what verdicts are made on."""
    return AnalysisPolicy(
        interval_s=seconds(analysis.interval),
        min_requests=analysis.min_requests,
        failure_limit=analysis.failure_limit,
        baseline=Baseline(analysis.baseline),
        metrics=tuple(map(_rule, analysis.metrics)),
    )


def _rule(metric: AnalysisMetric) -> Rule:
    limit = metric.max or metric.min
    change = metric.max_increase_percent
    if change is None:
        change = metric.max_decrease_percent
    return Rule(
        metric=Metric(metric.name),
        limit=None if limit is None else _amount(limit),
        change_percent=None if change is None else float(change),
        required=metric.required,
    )


def _written(rule: Rule) -> AnalysisMetric:
    assert rule.change_percent is not None, "defaults are relative to stable"
    fields: dict[str, Any] = {"name": str(rule.metric), "required": rule.required}
    return AnalysisMetric(**fields, max_increase_percent=int(rule.change_percent))


def _form(metric: Metric) -> str:
    unit = "(ms|s)" if metric in QUANTILES else "%" if metric in RATES else ""
    return _NUMBER + unit


def _amount(text: str) -> float:
    """Return the seconds, percent or number that a limit says."""
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    return float(text.rstrip("s%"))
