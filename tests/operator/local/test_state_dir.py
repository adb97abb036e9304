import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pagelet_operator.local.state_dir import StateDirError, default_state_dir, held


def test_the_same_files_have_the_same_folder_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = {"XDG_STATE_HOME": "/state"}
    one = default_state_dir([Path("a.yaml"), Path("b.yaml")], env)
    assert one == default_state_dir([tmp_path / "b.yaml", tmp_path / "a.yaml"], env)
    assert one != default_state_dir([Path("a.yaml")], env)
    assert one.parent == Path("/state/pagelet")


def test_without_xdg_it_lies_in_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    for env in ({}, {"XDG_STATE_HOME": "relative/is/ignored"}):
        folder = default_state_dir([Path("a.yaml")], env)
        assert folder.parent == Path("/home/somebody/.local/state/pagelet")


def test_it_is_made_for_this_user_alone(tmp_path):
    with held(tmp_path / "deep" / "state") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_second_holder_is_refused_with_the_first_ones_process(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from pagelet_operator.local.state_dir import held, StateDirError\n"
        "try:\n"
        "    with held(pathlib.Path(sys.argv[1])): pass\n"
        "except StateDirError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with held(tmp_path):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f"(process {os.getpid()})" in done.stdout
        assert "--state-dir" in done.stdout
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirError, match="--state-dir"), held(tmp_path / "file" / "state"):
        pass
