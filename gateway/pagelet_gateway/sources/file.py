"""A route table from a file, followed by looking at it ten times a second.

Polling rather than inotify: it works on every file system, mounted ConfigMaps included, and
costs one `stat` (2 µs). The writer replaces the file by rename, so a read is never half done;
a writer that does not is met by the next look, after one refused table. Key files that the
table names are followed like the table itself.
"""

import asyncio
from os import stat_result
from pathlib import Path

import structlog

from pagelet_gateway.sources.key_files import KeyFiles
from pagelet_gateway.sources.source import Sink

log = structlog.get_logger("pagelet.gateway")


class FileSource:
    """Delivers the file's content whenever it changes."""

    def __init__(self, path: Path, sink: Sink, *, interval_s: float = 0.1) -> None:
        self._path = path
        self._sink = sink
        self._interval_s = interval_s
        self._keys = KeyFiles()
        self._seen: tuple[int, int, int] | None = None
        self._keys_seen: tuple[object, ...] = ()
        self._trouble: str | None = None

    async def run(self) -> None:
        """Look at the file until cancelled."""
        while True:
            try:
                self.poll()
            except Exception:  # the outer loop: whatever one table does, the next is looked at
                log.exception("source failed")
            await asyncio.sleep(self._interval_s)

    def poll(self) -> None:
        """Look once; deliver if the file, or a key file it names, changed since the last look."""
        try:
            version = _version(self._path.stat())
            if version == self._seen and self._key_versions() == self._keys_seen:
                return
            raw = self._path.read_bytes()
        except OSError as error:
            self._report(f"{self._path}: {error.strerror}")
            return
        self._report(None)
        self._seen = version
        table = self._keys.fill(raw)
        self._keys_seen = self._key_versions()
        self._sink(table)

    def _key_versions(self) -> tuple[object, ...]:
        return tuple(_version_or_none(path) for path in self._keys.paths)

    def _report(self, trouble: str | None) -> None:
        """Log once when the file cannot be read, and once when it can again."""
        if trouble == self._trouble:
            return
        if trouble is not None:
            log.warning(
                "route table cannot be read; waiting for it",
                reason=trouble,
                serving="nothing" if self._seen is None else "last good table",
            )
        elif self._trouble is not None:
            log.info("route table can be read again", path=str(self._path))
        self._trouble = trouble


def _version_or_none(path: Path) -> tuple[int, int, int] | None:
    try:
        return _version(path.stat())
    except OSError:
        return None


def _version(status: stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_ino, status.st_size
