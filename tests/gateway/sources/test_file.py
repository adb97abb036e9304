import asyncio
import os
from pathlib import Path

from pagelet_gateway.sources.file import FileSource


def replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def source(path: Path) -> tuple[FileSource, list[bytes]]:
    delivered: list[bytes] = []
    return FileSource(path, lambda raw: delivered.append(bytes(raw)) is None), delivered


def test_each_new_file_is_delivered_once(tmp_path):
    path = tmp_path / "t.json"
    watched, delivered = source(path)
    watched.poll()
    assert delivered == []
    for content in (b"one", b"two", b"one"):
        replace(path, content)
        watched.poll()
        watched.poll()
    assert delivered == [b"one", b"two", b"one"]


def test_a_file_of_the_same_size_and_time_is_another_file(tmp_path):
    path = tmp_path / "t.json"
    watched, delivered = source(path)
    for content in (b"aaa", b"bbb"):
        replace(path, content)
        os.utime(path, ns=(1, 1))
        watched.poll()
    assert delivered == [b"aaa", b"bbb"]


def test_a_file_that_goes_and_comes_back_is_delivered_if_it_changed(tmp_path):
    path = tmp_path / "t.json"
    watched, delivered = source(path)
    replace(path, b"one")
    watched.poll()
    path.unlink()
    watched.poll()
    replace(path, b"two!")
    watched.poll()
    assert delivered == [b"one", b"two!"]


def test_a_folder_is_no_table_and_no_crash(tmp_path):
    watched, delivered = source(tmp_path)
    watched.poll()
    assert delivered == []
    fresh, path = tmp_path / "later", tmp_path / "t.json"
    fresh.write_bytes(b"one")
    later, delivered = source(path)
    path.mkdir()
    later.poll()
    path.rmdir()
    fresh.rename(path)
    later.poll()
    assert delivered == [b"one"]


async def test_running_delivers_a_change_by_itself(tmp_path):
    path, came = tmp_path / "t.json", asyncio.Event()
    delivered = []

    def take(raw: bytes) -> bool:
        delivered.append(bytes(raw))
        came.set()
        return True

    watched = FileSource(path, take, interval_s=0.01)
    running = asyncio.create_task(watched.run())
    replace(path, b"one")
    async with asyncio.timeout(20):
        await came.wait()
    running.cancel()
    assert delivered == [b"one"]


async def test_a_table_that_its_reader_fails_on_does_not_end_the_watch(tmp_path):
    path, failed, came = tmp_path / "t.json", asyncio.Event(), asyncio.Event()

    def take(raw: bytes) -> bool:
        if bytes(raw) == b"one":
            failed.set()
            raise OverflowError("a bug of the reader")
        came.set()
        return True

    watched = FileSource(path, take, interval_s=0.01)
    replace(path, b"one")
    running = asyncio.create_task(watched.run())
    async with asyncio.timeout(20):
        await failed.wait()
        replace(path, b"two!")
        await came.wait()
    assert not running.done()
    running.cancel()
