"""Everything pagelet_bench raises on purpose, split by who can mend it.

    BenchError
    ├── UsageError          whoever gave the command: a value or a name is wrong; exit code 2
    └── UnreachableError    whoever runs the endpoint: it does not answer as needed; exit code 2

A request that fails under load is a result (`core.result`), never an exception.
"""


class BenchError(Exception):
    """Base of all errors this package raises on purpose."""


class UsageError(BenchError):
    """The load cannot be run as asked; the message names the value and the remedy."""


class UnreachableError(BenchError):
    """The endpoint cannot be measured; the message says what it answered."""
