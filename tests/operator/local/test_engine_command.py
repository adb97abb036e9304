import subprocess

from pagelet_operator.api.spec import ModelDeploymentSpec
from pagelet_operator.local.engine_command import pagelet, serve


def test_a_replica_listens_on_loopback_at_its_port_and_is_told_its_model():
    spec = ModelDeploymentSpec.model_validate({"model": {"source": "dummy://tiny"}})
    args = serve(spec, "chat", 4711, 90.0)
    start = args.index("serve")
    assert args[start + 1 : start + 3] == ("dummy://tiny", "--served-model-name=chat")
    assert args[-3:] == ("--host=127.0.0.1", "--port=4711", "--drain-timeout=90")


def test_a_folder_named_like_the_package_is_not_run(tmp_path):
    (tmp_path / "pagelet").mkdir()
    (tmp_path / "pagelet" / "__main__.py").write_text("print('impostor')")
    done = subprocess.run(
        pagelet("--help"), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "impostor" not in done.stdout
