"""Logging of the API process: structured lines on stderr, JSON unless a person is watching.

Events have constant names, values are fields. No prompt and no output is ever logged: of an
exception only its types and where they arose, as a message may repeat what a client sent.
"""

import logging
import sys
import traceback

import structlog


def configure_logging() -> None:
    """Set structlog up, and let libraries' warnings come out the same way."""
    watched = sys.stderr.isatty()
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if watched else structlog.processors.JSONRenderer()
    )
    processors: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        tell_exception,
    ]
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # A line is one write, so that lines of several writers cannot run into each other.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)


def tell_exception(
    logger: object, method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Replace `exc_info` in a log event by `exception`: types and places, no messages."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = places(error)
    return event


def places(error: BaseException) -> str:
    """Return a traceback of `error` and its causes without their messages."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        cause = following.__cause__
        hidden = following.__suppress_context__
        following = cause if cause is not None or hidden else following.__context__
    return "\n".join(
        "".join(traceback.format_tb(each.__traceback__)) + type(each).__name__
        for each in reversed(chain)
    )


class _Bridge(logging.Handler):
    """Hands records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log `record`."""
        structlog.get_logger(record.name).log(
            record.levelno, record.getMessage(), exc_info=record.exc_info
        )
