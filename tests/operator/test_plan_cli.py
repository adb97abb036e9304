import json

import pytest
from typer.testing import CliRunner

from local_up import resource, write
from pagelet.main import build
from pagelet_operator.core.planner.devices import GPUS

LENGTHS = ("--prompt-tokens", "20,90,200", "--output-tokens", "10,30,80")


def run(*arguments):
    words = ["plan", *map(str, arguments)]
    return CliRunner().invoke(build(), words, env={"COLUMNS": "200"})


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "models.yaml", resource(model={"source": "dummy://tiny"}))


def test_every_model_is_printed(tmp_path):
    done = run(write(tmp_path / "models.yaml", resource(), resource("other")))
    assert done.exit_code == 0
    assert "default/chat serves 'chat'" in done.stdout
    assert "default/other serves 'other'" in done.stdout


def test_json_is_one_document(tmp_path):
    rollout = {"steps": [{"weight": 10}, {"weight": 50}]}
    file = write(tmp_path / "models.yaml", resource(rollout=rollout))
    (model,) = json.loads(run(file, "--json").stdout)["models"]
    assert model["model"] == "default/chat"
    assert [step["weight"] for step in model["steps"]] == [10, 50, 100]


def test_every_option_reaches_the_estimate(file):
    done = run(
        file, "--gpu=l4", "--memory=8Gi", *LENGTHS, "--rate=5", "--headroom=0.5",
        "--price=2.50 EUR", "--layers=4", "--kv-heads=2", "--head-size=64", "--params=1000000",
        "--context-window=2048", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["models"][0]["estimate"]
    assert (found["device"], found["memory"]["deviceBytes"]) == ("l4", 2**33)
    assert found["shape"]["numParameters"] == 1_000_000
    assert found["shape"]["contextWindow"] == 2048
    assert found["ratePerSecond"] == 5
    assert found["price"] == {"amount": 2.5, "currency": "EUR"}
    assert found["monthly"] == 2.5 * 730 * found["replicas"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--gpu=h1000"], "pagelet plan: default/chat: --gpu 'h1000' is unknown; choose one of"),
        (["--gpu=l4", "--price=2.50"], "--price is '2.50', without a currency"),
        (["--gpu=l4", *LENGTHS, "--rate=0"], "--rate is 0"),
        (["--gpu=l4", "--config=/nowhere/config.json"], "/nowhere/config.json: cannot be read"),
    ],
)
def test_bad_options_are_one_sentence_on_stderr_and_exit_code_two(file, arguments, named):
    done = run(file, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"engine": {"dtype": "float12"}}, "spec.engine.dtype: "),
        ({"scaling": {"minReplicas": 3, "maxReplicas": 2}}, "spec.scaling: maxReplicas must not"),
        ({"scaling": {"maxReplicas": 2, "targets": {"itlP99": "0s"}}}, "itlP99: "),
        ({"scaling": {"maxReplicas": 2, "targets": {"queueDepth": 0}}}, "queueDepth: "),
    ],
)
def test_a_bad_resource_is_one_sentence_that_names_the_field(tmp_path, spec, named):
    done = run(write(tmp_path / "models.yaml", resource(**spec)))
    assert (done.exit_code, done.stdout) == (2, "")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_documents_exit_codes_and_every_gpu():
    shown = " ".join(run("--help").stdout.replace("│", " ").split())
    assert "Exit codes: 0" in shown
    assert all(name in shown for name in GPUS)
