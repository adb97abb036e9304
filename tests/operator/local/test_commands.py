import socket

from typer.testing import CliRunner

from local_up import resource, write
from pagelet.main import build


def run(*arguments):
    return CliRunner().invoke(build(), list(map(str, arguments)), env={"COLUMNS": "200"})


def test_bad_input_is_one_sentence_on_stderr_and_exit_code_two(tmp_path):
    file = write(tmp_path / "models.yaml", resource(engine={"dtype": "float12"}))
    done = run("up", file, "--state-dir", tmp_path / "state")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"pagelet up: {file}: spec.engine.dtype: ")
    assert done.stderr.count("\n") == 1


def test_up_without_a_state_folder_it_can_write_is_refused(tmp_path):
    (tmp_path / "blocker").write_text("")
    file = write(tmp_path / "models.yaml", resource())
    done = run("up", file, "--state-dir", tmp_path / "blocker" / "state")
    assert done.exit_code == 2
    assert "--state-dir" in done.stderr


def test_a_status_port_that_cannot_be_had_is_said_before_anything_starts(tmp_path):
    file = write(tmp_path / "models.yaml", resource())
    state = ("--state-dir", tmp_path / "state")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("up", file, *state, "--port=0", f"--status-port={port}")
    assert (done.exit_code, f"port {port} on 127.0.0.1 is in use" in done.stderr) == (2, True)
    assert "--status-port" in done.stderr
    # Nobody listens there now, so what is left to refuse is that both ports are one.
    done = run("up", file, *state, f"--port={port}", f"--status-port={port}")
    assert (done.exit_code, "is the gateway's" in done.stderr) == (2, True)


def test_help_documents_the_exit_codes():
    assert "Exit codes: 0" in run("up", "--help").stdout
