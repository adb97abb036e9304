"""What a log line tells of an exception, and what it does not."""

import subprocess
import sys

from pagelet_engine.server.logs import places, tell_exception

SECRET = "swordfish"


def raised():
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError as error:
        return error


def test_an_exception_is_told_by_types_and_places():
    told = places(raised())
    assert SECRET not in told
    assert told.index("ValueError") < told.index("KeyError")
    assert told.count("in raised") == 2
    assert __file__ in told


def test_causes_that_go_round_in_circles_are_told_once():
    first, second = ValueError(SECRET), TypeError(SECRET)
    first.__cause__, second.__cause__ = second, first
    assert places(first) == "TypeError\nValueError"


def test_a_cause_that_is_hidden_is_not_told():
    error = raised()
    error.__cause__, error.__suppress_context__ = None, True
    assert "ValueError" not in places(error)


def test_every_way_to_hand_over_an_exception_is_understood():
    error = raised()
    for given in (error, (type(error), error, error.__traceback__)):
        event = tell_exception(None, "error", {"event": "bug", "exc_info": given})
        assert event == {"event": "bug", "exception": places(error)}
    try:
        raise error
    except KeyError:
        event = tell_exception(None, "error", {"event": "bug", "exc_info": True})
        assert "KeyError" in event["exception"]
    for given in (None, False, (None, None, None)):
        assert tell_exception(None, "error", {"exc_info": given}) == {}


def test_lines_of_this_program_and_of_libraries_are_json_without_messages():
    code = (
        "import logging, structlog;"
        "from pagelet_engine.server.logs import configure_logging;"
        "configure_logging();\n"
        f"try: int('{SECRET}')\n"
        "except ValueError:\n"
        "    structlog.get_logger().exception('bug', request_id='r')\n"
        "    logging.getLogger('x').exception('failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours, theirs = done.stderr.splitlines()
    assert '"request_id": "r"' in ours
    assert "ValueError" in ours
    assert "ValueError" in theirs
    # The line of code is shown, which holds the text here, but no message does.
    assert "invalid literal" not in done.stderr
