import io
import os

from rich.console import Console

from pagelet_operator.local.live_report import LiveReport
from pagelet_operator.local.report import Event, Row

ROW = Row(
    model="chat", phase="Progressing", stable="chat-a", canary="chat-b", weight=25, ready=2,
    replicas=2, message="step 2 of 3 [not markup]",
)  # fmt: skip


def console():
    return Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)


def test_the_table_shows_each_model_and_events_stand_above_it():
    screen = console()
    report = LiveReport(screen)
    report.rows([ROW])
    report.event(Event(reason="StepCompleted", message="to 25 %", model="chat"))
    report.close()
    text = screen.file.getvalue()
    for word in ("chat-a", "chat-b", "25 %", "2/2", "[not markup]", "StepCompleted: chat: to 25 %"):
        assert word in text


def test_the_same_rows_are_drawn_once():
    screen = console()
    report = LiveReport(screen)
    report.rows([ROW])
    drawn = len(screen.file.getvalue())
    report.rows([ROW])
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
        report.rows([ROW])
        report.close()
        screen.file = io.StringIO()
        os.dup2(os.open(os.devnull, os.O_WRONLY), gone.fileno())
