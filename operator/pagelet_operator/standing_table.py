"""The table of how models stand, as rich draws it: of `pagelet up` and `pagelet rollout`."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pagelet_operator.api.standing import Standing

_HEADINGS = (
    "MODEL", "PHASE", "ROLE", "REVISION", "WEIGHT", "READY", "P99 TTFT", "P99 ITL", "QUEUE",
    "VERDICT", "MESSAGE",
)  # fmt: skip
_FOLDED = ("VERDICT", "MESSAGE")


def table(lines: Sequence[Standing]) -> Table:
    """Return the standings as a rich table; a model's name and phase are said once."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in _HEADINGS:
        drawn.add_column(heading, no_wrap=heading not in _FOLDED)
    before = None
    for line in lines:
        first = line.model != before
        before = line.model
        drawn.add_row(
            line.model if first else "",
            line.phase if first else "",
            line.role,
            line.revision,
            line.weight,
            line.ready,
            line.ttft_p99,
            line.itl_p99,
            line.queue,
            # Sentences may hold brackets, which are no markup.
            Text(line.verdict),
            Text(line.message),
        )
    return drawn
