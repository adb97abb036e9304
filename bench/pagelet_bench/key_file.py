"""API keys from files, so that they stay out of process lists and shell histories."""

from pathlib import Path

from pagelet_bench.core.errors import UsageError


def read_key(path: Path | None) -> str | None:
    """Return the key in the first line of a file; None without a file.

    Raises:
        UsageError: It cannot be read, or is empty.
    """
    if path is None:
        return None
    try:
        lines = path.read_text("utf-8").split()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"the key file {path} cannot be read: {error}.") from None
    if not lines:
        raise UsageError(f"the key file {path} is empty.")
    return lines[0]
