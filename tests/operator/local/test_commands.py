import json

import pytest
from typer.testing import CliRunner

from local_up import resource, write
from pagelet.main import build


def run(*arguments):
    return CliRunner().invoke(build(), list(map(str, arguments)), env={"COLUMNS": "200"})


def test_plan_prints_every_model(tmp_path):
    file = write(tmp_path / "models.yaml", resource(), resource("other"))
    done = run("plan", file)
    assert done.exit_code == 0
    assert "default/chat serves 'chat'" in done.stdout
    assert "default/other serves 'other'" in done.stdout


def test_plan_as_json_is_one_document(tmp_path):
    done = run("plan", write(tmp_path / "models.yaml", resource()), "--json")
    (model,) = json.loads(done.stdout)["models"]
    assert model["model"] == "default/chat"
    assert [step["weight"] for step in model["steps"]] == [2, 10, 50, 100]


@pytest.mark.parametrize("command", ["plan", "up"])
def test_bad_input_is_one_sentence_on_stderr_and_exit_code_two(tmp_path, command):
    file = write(tmp_path / "models.yaml", resource(engine={"dtype": "float12"}))
    state = ["--state-dir", tmp_path / "state"] if command == "up" else []
    done = run(command, file, *state)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"pagelet {command}: {file}: spec.engine.dtype: ")
    assert done.stderr.count("\n") == 1


def test_up_without_a_state_folder_it_can_write_is_refused(tmp_path):
    (tmp_path / "blocker").write_text("")
    file = write(tmp_path / "models.yaml", resource())
    done = run("up", file, "--state-dir", tmp_path / "blocker" / "state")
    assert done.exit_code == 2
    assert "--state-dir" in done.stderr


@pytest.mark.parametrize("command", ["plan", "up"])
def test_help_documents_the_exit_codes(command):
    assert "Exit codes: 0" in run(command, "--help").stdout
