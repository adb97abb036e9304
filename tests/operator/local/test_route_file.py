import json
import threading

import pytest

from pagelet_operator.local.route_file import RouteFile


def routes(weight):
    padding = [{"url": f"http://127.0.0.1:{port}"} for port in range(500)]
    return {"a": {"name": "a", "revisions": [{"weight": weight, "endpoints": padding}]}}


def test_the_file_holds_the_versioned_table_sorted_by_name(tmp_path):
    file = RouteFile(tmp_path / "routes.json")
    file.publish({1: {"name": "b"}, 2: {"name": "a"}})
    table = json.loads(file.path.read_text())
    assert table == {"schemaVersion": 1, "models": [{"name": "a"}, {"name": "b"}]}


def test_only_a_change_is_written(tmp_path):
    file = RouteFile(tmp_path / "routes.json")
    assert file.publish(routes(1))
    inode = file.path.stat().st_ino
    assert not file.publish(routes(1))
    assert file.path.stat().st_ino == inode
    assert file.publish(routes(2))


def test_a_reader_never_sees_a_part(tmp_path):
    file = RouteFile(tmp_path / "routes.json")
    file.publish(routes(0))
    done, bad = threading.Event(), []

    def read():
        while not done.is_set():
            try:
                json.loads(file.path.read_text())
            except ValueError as error:
                bad.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for weight in range(200):
        file.publish(routes(weight))
    done.set()
    reader.join()
    assert not bad


def test_a_failed_write_keeps_the_old_table_and_is_tried_again(tmp_path):
    file = RouteFile(tmp_path / "routes.json")
    file.publish(routes(1))
    old = file.path.read_text()
    blocker = tmp_path / "routes.json.new"
    blocker.mkdir()
    with pytest.raises(OSError, match="directory"):
        file.publish(routes(2))
    assert file.path.read_text() == old
    blocker.rmdir()
    assert file.publish(routes(2))
