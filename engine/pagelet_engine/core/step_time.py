"""How long a step takes: a + b * tokens + c * query-key pairs + d * context, fitted while serving.

`a` is what any step costs (weights read once), `b` what a token adds (products), `c` what a pair
of query and key adds (arithmetic of attention, which is why the same chunk costs more at the end
of a long prompt), and `d` what a key adds that a sequence looks back at, by however many queries
(K and V are read once for all of them: what decodes and small chunks at long positions mostly
pay). Steps are weighed by their relative error, so that short ones count as much as long ones
and a step that was held up by something else counts little; and they are kept by size, so that
hours of decoding do not wash out what was learnt about prompts.
"""

from dataclasses import dataclass, field

_TOKENS_SCALE = 64.0
_PAIRS_SCALE = 65536.0
_CONTEXT_SCALE = 4096.0
"""Bring the features to the order of 1, for the sake of the arithmetic."""
_KEPT = 0.95
"""Of what a size class knew after one more step of that size: a memory of about 20."""
_RIDGE = 1e-6
_QUANTILE = 0.99
_QUANTILE_STEP = 0.05
_MAX_SPREAD = 3.0

_NUM_FEATURES = 4

_Features = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class StepSize:
    """What a step computes, as far as its time depends on it."""

    num_tokens: int = 0
    pairs: int = 0
    """Of a query and a key it attends to."""
    context: int = 0
    """Keys of all sequences in the step, each counted once for its sequence."""

    def plus(self, start: int, num_tokens: int) -> "StepSize":
        """Return this with tokens [start, start + num_tokens) of one more sequence, not empty."""
        return StepSize(
            self.num_tokens + num_tokens,
            self.pairs + num_tokens * start + num_tokens * (num_tokens + 1) // 2,
            self.context + start + num_tokens,
        )


@dataclass(slots=True)
class _SizeClass:
    """Decayed sums of steps of similar size, for the normal equations."""

    products: list[list[float]] = field(
        default_factory=lambda: [[0.0] * _NUM_FEATURES for _ in range(_NUM_FEATURES)]
    )
    targets: list[float] = field(default_factory=lambda: [0.0] * _NUM_FEATURES)

    def add(self, features: _Features, seconds: float) -> None:
        weight = 1.0 / (seconds * seconds)
        for row, left in enumerate(features):
            for column, right in enumerate(features):
                kept = self.products[row][column] * _KEPT
                self.products[row][column] = kept + weight * left * right
            self.targets[row] = self.targets[row] * _KEPT + weight * left * seconds


class StepTimeModel:
    """Learns from every step; predicts the next."""

    def __init__(self) -> None:
        self._classes: dict[int, _SizeClass] = {}
        self._coefficients: _Features = (0.0, 0.0, 0.0, 0.0)
        self._is_current = True
        self.largest_step = 0
        """Most tokens of a step seen so far; beyond, predictions are guesses."""
        self.spread = 1.1
        """What a step takes at its 99th percentile, relative to its prediction."""

    def observe(self, size: StepSize, seconds: float) -> None:
        """Take in a step of at least one token that took `seconds` > 0."""
        predicted = self.predict(size) if self._classes else 0.0
        if predicted > 0 and size.num_tokens <= self.largest_step:
            self._track_spread(seconds / predicted)
        self.largest_step = max(self.largest_step, size.num_tokens)
        size_class = self._classes.setdefault(size.num_tokens.bit_length(), _SizeClass())
        size_class.add(_features(size), seconds)
        self._is_current = False

    def predict(self, size: StepSize) -> float:
        """Return the seconds a step is likely to take; 0 before the first observation."""
        if not self._is_current:
            self._coefficients = self._fit()
            self._is_current = True
        return sum(c * x for c, x in zip(self._coefficients, _features(size), strict=True))

    def _track_spread(self, ratio: float) -> None:
        step = _QUANTILE if ratio > self.spread else _QUANTILE - 1.0
        self.spread = min(max(self.spread + _QUANTILE_STEP * step, 1.0), _MAX_SPREAD)

    def _fit(self) -> _Features:
        classes = list(self._classes.values())
        products = [
            [sum(c.products[row][column] for c in classes) for column in range(_NUM_FEATURES)]
            for row in range(_NUM_FEATURES)
        ]
        targets = [sum(c.targets[row] for c in classes) for row in range(_NUM_FEATURES)]
        used = list(range(_NUM_FEATURES))
        while True:
            solution = _solve(products, targets, used)
            worst = min(used, key=lambda index: solution[index])
            # No part of a step takes less than no time: what looks so is noise, and goes.
            if solution[worst] >= 0 or len(used) == 1:
                base, token, pair, key = (max(value, 0.0) for value in solution)
                return base, token, pair, key
            used.remove(worst)


def _features(size: StepSize) -> _Features:
    return (
        1.0,
        size.num_tokens / _TOKENS_SCALE,
        size.pairs / _PAIRS_SCALE,
        size.context / _CONTEXT_SCALE,
    )


def _solve(products: list[list[float]], targets: list[float], used: list[int]) -> list[float]:
    """Solve the normal equations of the features in `used` by elimination; others get 0."""
    ridge = _RIDGE * sum(products[index][index] for index in used)
    rows = [
        [products[i][j] + (ridge if i == j else 0.0) for j in used] + [targets[i]] for i in used
    ]
    for pivot, row in enumerate(rows):  # positive definite: no exchange of rows is needed
        for other in rows[pivot + 1 :]:
            factor = other[pivot] / row[pivot]
            for column in range(pivot, len(row)):
                other[column] -= factor * row[column]
    solution = [0.0] * _NUM_FEATURES
    for pivot in range(len(used) - 1, -1, -1):
        row = rows[pivot]
        known = sum(row[j] * solution[used[j]] for j in range(pivot + 1, len(used)))
        solution[used[pivot]] = (row[-1] - known) / row[pivot]
    return solution
