"""What a check reads from and writes to disk, and what of its command line may be shown."""

import os
from collections.abc import Sequence
from pathlib import Path

from pagelet_bench.core.errors import UsageError
from pagelet_bench.environment import command

_SECRET_OPTIONS = ("--api-key", "--against-api-key")


def read_key(key: str | None, path: Path | None) -> str | None:
    """Return the key given, or the first line of the file given; None: requests bring none.

    Raises:
        UsageError: Both are given, the file cannot be read, or the key cannot be sent.
    """
    if key is not None and path is not None:
        raise UsageError("give the key or the file that holds it, not both.")
    if path is not None:
        try:
            key = (path.read_text().splitlines() or [""])[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the key file {path} cannot be read: {error}.") from None
        if not key:
            raise UsageError(f"the first line of the key file {path} is empty.")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise UsageError("the key holds characters that no header can carry.")
    return key or None


def check_writable(*paths: Path | None) -> None:
    """Refuse a file that cannot be written now rather than after the probes.

    Raises:
        UsageError: One of `paths` cannot be written.
    """
    for path in paths:
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            raise UsageError(
                f"the result cannot be written to {path}: name a file in a folder that exists "
                f"and can be written to."
            )


def command_line(argv: Sequence[str]) -> str:
    """Write a command line as it could be typed again, without its keys."""
    shown, hides_next = [], False
    for part in argv:
        name, sign, _ = part.partition("=")
        is_secret = name in _SECRET_OPTIONS
        if hides_next:
            shown.append("***")
        else:
            shown.append(f"{name}=***" if is_secret and sign else part)
        hides_next = is_secret and not sign and not hides_next
    return command(shown)
