"""How long a step takes: a + b * tokens + c * query-key pairs, fitted while serving.

`a` is what any step costs (weights read once), `b` what a token adds (products), `c` what a pair
of query and key adds (attention, which is why the same chunk costs more at the end of a long
prompt). Steps are weighed by their relative error, so that short ones count as much as long ones
and a step that was held up by something else counts little; and they are kept by size, so that
hours of decoding do not wash out what was learnt about prompts.
"""

from dataclasses import dataclass, field

_TOKENS_SCALE = 64.0
_PAIRS_SCALE = 65536.0
"""Bring both features to the order of 1, for the sake of the arithmetic."""
_KEPT = 0.95
"""Of what a size class knew after one more step of that size: a memory of about 20."""
_RIDGE = 1e-6
_QUANTILE = 0.99
_QUANTILE_STEP = 0.05
_MAX_SPREAD = 3.0

_Features = tuple[float, float, float]


def num_pairs(start: int, num_tokens: int) -> int:
    """Return the query-key pairs of tokens [start, start + num_tokens) of one sequence."""
    return num_tokens * start + num_tokens * (num_tokens + 1) // 2


@dataclass(slots=True)
class _SizeClass:
    """Decayed sums of steps of similar size, for the normal equations."""

    products: list[list[float]] = field(default_factory=lambda: [[0.0] * 3 for _ in range(3)])
    targets: list[float] = field(default_factory=lambda: [0.0] * 3)

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
        self._coefficients: _Features = (0.0, 0.0, 0.0)
        self._is_current = True
        self.largest_step = 0
        """Most tokens of a step seen so far; beyond, predictions are guesses."""
        self.spread = 1.1
        """What a step takes at its 99th percentile, relative to its prediction."""

    def observe(self, num_tokens: int, pairs: int, seconds: float) -> None:
        """Take in a step of `num_tokens` >= 1 tokens that took `seconds` > 0."""
        predicted = self.predict(num_tokens, pairs) if self._classes else 0.0
        if predicted > 0 and num_tokens <= self.largest_step:
            self._track_spread(seconds / predicted)
        self.largest_step = max(self.largest_step, num_tokens)
        size_class = self._classes.setdefault(num_tokens.bit_length(), _SizeClass())
        size_class.add(_features(num_tokens, pairs), seconds)
        self._is_current = False

    def predict(self, num_tokens: int, pairs: int) -> float:
        """Return the seconds a step is likely to take; 0 before the first observation."""
        if not self._is_current:
            self._coefficients = self._fit()
            self._is_current = True
        features = _features(num_tokens, pairs)
        return sum(c * x for c, x in zip(self._coefficients, features, strict=True))

    def _track_spread(self, ratio: float) -> None:
        step = _QUANTILE if ratio > self.spread else _QUANTILE - 1.0
        self.spread = min(max(self.spread + _QUANTILE_STEP * step, 1.0), _MAX_SPREAD)

    def _fit(self) -> _Features:
        products = [
            [sum(c.products[row][column] for c in self._classes.values()) for column in range(3)]
            for row in range(3)
        ]
        targets = [sum(c.targets[row] for c in self._classes.values()) for row in range(3)]
        used = [0, 1, 2]
        while True:
            solution = _solve(products, targets, used)
            worst = min(used, key=lambda index: solution[index])
            # No part of a step takes less than no time: what looks so is noise, and goes.
            if solution[worst] >= 0 or len(used) == 1:
                return max(solution[0], 0.0), max(solution[1], 0.0), max(solution[2], 0.0)
            used.remove(worst)


def _features(num_tokens: int, pairs: int) -> _Features:
    return 1.0, num_tokens / _TOKENS_SCALE, pairs / _PAIRS_SCALE


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
    solution = [0.0, 0.0, 0.0]
    for pivot in range(len(used) - 1, -1, -1):
        row = rows[pivot]
        known = sum(row[j] * solution[used[j]] for j in range(pivot + 1, len(used)))
        solution[used[pivot]] = (row[-1] - known) / row[pivot]
    return solution
