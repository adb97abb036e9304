"""The folder in which one `pagelet up` keeps its route table and logs, locked while it runs."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class StateDirError(Exception):
    """The folder cannot be used; the message says what to do."""


def default_state_dir(files: Sequence[Path], env: Mapping[str, str]) -> Path:
    """Return this user's folder for a set of files: the same files, the same folder.

    Source: XDG Base Directory Specification 0.8, XDG_STATE_HOME.
    """
    names = "\n".join(sorted(str(path.resolve()) for path in files))
    return state_home(env) / f"up-{hashlib.sha256(names.encode()).hexdigest()[:12]}"


def state_home(env: Mapping[str, str]) -> Path:
    """Return the folder of all of this user's state folders, `up-*`."""
    base = env.get("XDG_STATE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return root / "pagelet"


@contextmanager
def held(path: Path) -> Iterator[Path]:
    """Make the folder, only for this user, and hold it against a second `pagelet up`.

    Raises:
        StateDirError: It cannot be written, or another process holds it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (path / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise StateDirError(
            f"the state folder {path} cannot be written ({error.strerror}); "
            f"choose another with --state-dir"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise StateDirError(
                f"another `pagelet up` (process {lock.read().strip()}) uses {path}; "
                f"end it, or give this one its own --state-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield path
