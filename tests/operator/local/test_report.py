import io
import json
import os
from datetime import UTC, datetime

from pagelet_operator.local.report import Event, LineReport, json_line, plain_line

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STEP = Event(reason="StepCompleted", message="step 2", model="chat", details={"weights": {"a": 5}})


def test_a_line_says_when_why_which_and_what():
    line = plain_line(STEP, NOW)
    assert line.endswith(" StepCompleted: chat: step 2")
    assert line[:8].count(":") == 2


def test_the_ready_line_stands_alone():
    event = Event(reason="Serving", message="ready: http://127.0.0.1:8080/v1 serves chat")
    assert plain_line(event, NOW) == event.message


def test_json_is_one_object_a_line_with_the_details():
    out = io.StringIO()
    report = LineReport(out, as_json=True)
    report.event(STEP)
    report.event(Event(reason="Refused", message="a\nb"))
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["reason"], first["model"], first["weights"]) == (
        "StepCompleted",
        "chat",
        {"a": 5},
    )
    assert (second["model"], second["message"]) == (None, "a\nb")
    assert json.loads(json_line(STEP, NOW))["time"] == "2026-01-02T03:04:05.000000Z"


def test_a_reader_who_left_stops_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    out = os.fdopen(writing, "w")
    report = LineReport(out, as_json=False)
    report.event(STEP)
    report.event(STEP)
    report.close()
    out.close()  # flushes what was buffered, and must not fail on it
    assert out.closed
