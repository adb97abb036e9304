"""docs/concepts/paged-attention.md: its example, run by the scheduler it explains."""

import re
from pathlib import Path

from pagelet_engine.core.block_manager import BlockManager
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.core.scheduler import Scheduler, SchedulerLimits
from pagelet_engine.core.sequence import Sequence

PAGE = Path(__file__).resolve().parents[3] / "docs" / "concepts" / "paged-attention.md"
PROMPTS = {"A": range(9), "B": range(100, 106), "C": [*range(8), 50, 51]}
ANSWERS = {"A": 4, "B": 5, "C": 3}


def _scheduler() -> tuple[Scheduler, BlockManager]:
    blocks = BlockManager(8, 4)
    limits = SchedulerLimits(max_num_seqs=4, max_num_batched_tokens=8, max_model_len=16)
    return Scheduler(limits, blocks, frozenset()), blocks


def _add(scheduler: Scheduler, name: str) -> Sequence:
    sampling = SamplingParams(max_tokens=ANSWERS[name])
    seq = Sequence(ord(name), list(PROMPTS[name]), sampling)
    assert scheduler.add(seq) is None
    return seq


def _rows() -> list[tuple[str, ...]]:
    """Run the example; return what the table says of each step."""
    scheduler, blocks = _scheduler()
    seqs = [_add(scheduler, name) for name in "AB"]
    rows: list[tuple[str, ...]] = []
    while scheduler.has_work:
        if len(rows) == 3:
            seqs.append(_add(scheduler, "C"))
        plan = scheduler.schedule()
        said = {
            chr(item.seq.seq_id): f"{item.num_tokens}{'*' * item.samples}"
            for item in plan.scheduled
        }
        tables = ", ".join(
            " ".join((chr(seq.seq_id), *map(str, seq.block_table)))
            for seq in seqs
            if seq.block_table
        )
        cells = (said.get(name, "") for name in "ABC")
        rows.append((str(len(rows) + 1), *cells, tables, str(blocks.num_used_blocks)))
        scheduler.update(plan, [7] * len(plan.sampling))
    return rows


def _num_steps_alone() -> int:
    """One request after the other, with the same cache."""
    scheduler, _ = _scheduler()
    num_steps = 0
    for name in "ABC":
        _add(scheduler, name)
        while scheduler.has_work:
            plan = scheduler.schedule()
            scheduler.update(plan, [7] * len(plan.sampling))
            num_steps += 1
    return num_steps


def test_the_table_is_what_the_scheduler_does():
    written = re.findall(r"^\| (\d.*) \|$", PAGE.read_text("utf-8"), re.M)
    assert [tuple(cell.strip() for cell in row.split("|")) for row in written] == _rows()


def test_one_after_the_other_takes_the_steps_that_the_page_says():
    (said,) = re.findall(r"One request after the other takes (\d+)", PAGE.read_text("utf-8"))
    assert int(said) == _num_steps_alone()
