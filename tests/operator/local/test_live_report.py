import io
import os

from rich.console import Console

from pagelet_operator.api.standing import Standing
from pagelet_operator.local.live_report import LiveReport
from pagelet_operator.local.report import Event
from pagelet_operator.standing_table import table

STABLE = Standing(
    model="chat", phase="Progressing", role="stable", revision="chat-a", weight="75 %",
    ready="2/2", ttft_p99="120 ms", itl_p99="8 ms", queue="0.3",
)  # fmt: skip
ROW = Standing(
    model="chat", phase="Progressing", role="canary", revision="chat-b", weight="25 %",
    ready="1/2", verdict="Inconclusive: 3 of 20 requests seen", message="step 2 of 3 [not markup]",
)  # fmt: skip


def console():
    return Console(file=io.StringIO(), force_terminal=True, width=220, color_system=None)


def test_the_table_shows_each_model_and_events_stand_above_it():
    screen = console()
    report = LiveReport(screen)
    report.rows([STABLE, ROW])
    report.event(Event(reason="StepCompleted", message="to 25 %", model="chat"))
    report.close()
    text = screen.file.getvalue()
    for word in ("chat-a", "chat-b", "25 %", "1/2", "120 ms", "8 ms", "0.3", "[not markup]",
                 ROW.verdict, "StepCompleted: chat: to 25 %"):  # fmt: skip
        assert word in text
    drawn_alone = Console(file=io.StringIO(), width=220)
    drawn_alone.print(table([STABLE, ROW]))
    assert drawn_alone.file.getvalue().count("Progressing") == 1, "a phase is said once"


def test_the_same_rows_are_drawn_once():
    screen = console()
    report = LiveReport(screen)
    report.rows([STABLE, ROW])
    drawn = len(screen.file.getvalue())
    report.rows([STABLE, ROW])
    assert len(screen.file.getvalue()) == drawn
    report.close()


def test_the_cursor_is_given_back():
    screen = console()
    LiveReport(screen).close()
    assert screen.file.getvalue().rstrip("\n").endswith("\x1b[?25h")


def test_a_terminal_that_is_gone_stops_nothing():
    screen = console()
    report = LiveReport(screen)
    master, slave = os.openpty()
    os.close(master)
    with os.fdopen(slave, "w", buffering=1) as gone:
        screen.file = gone
        report.event(Event(reason="StepCompleted", message="to 25 %", model="chat"))
        report.rows([STABLE, ROW])
        report.close()
        screen.file = io.StringIO()
        os.dup2(os.open(os.devnull, os.O_WRONLY), gone.fileno())
