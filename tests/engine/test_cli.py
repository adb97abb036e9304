"""`pagelet serve` on the command line."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from pagelet_engine import cli
from pagelet_engine.config import EngineConfig, ServerConfig
from pagelet_engine.errors import ConfigError


@pytest.fixture
def run(monkeypatch):
    """Run the command; the configuration it would serve is in `seen`."""
    seen = []

    def pretend(config, listen):
        seen.append((config, listen))
        return 0

    monkeypatch.setattr(cli, "_run", pretend)
    app = typer.Typer()
    cli.register(app)
    app.command("other")(lambda: None)  # with one command only, typer drops its name
    return lambda *arguments: (CliRunner().invoke(app, ["serve", *arguments]), seen)


def test_defaults_are_those_of_the_configuration(run):
    result, seen = run("dummy://tiny")
    assert result.exit_code == 0
    assert seen == [(EngineConfig(model="dummy://tiny"), ServerConfig())]


def test_every_flag_reaches_the_configuration(run):
    _, seen = run(
        *("m.gguf", "--served-model-name=chat", "--host=0.0.0.0", "--port=0", "--revision=abc"),
        *("--dtype=bfloat16", "--device=cuda", "--max-model-len=4096", "--block-size=32"),
        *("--max-num-seqs=8", "--max-num-batched-tokens=1024", "--kv-cache-memory=512Mi"),
        *("--gpu-memory-fraction=0.5", "--num-threads=2", "--seed=3", "--max-queued-requests=7"),
        *("--max-concurrent-requests=9", "--max-queued-tokens=99", "--queue-timeout=1.5"),
        *("--target-itl-ms=80", "--no-prefix-caching", "--drain-timeout=12.5"),
        *("--api-keys-file=keys", "--gateway-key-file=gateway"),
        *("--metrics-port=9", "--keep-alive=3", "--slow-reader-timeout=4"),
        *("--watchdog=9", "--on-engine-death=restart"),
    )
    assert seen == [
        (
            EngineConfig(
                model="m.gguf",
                served_model_name="chat",
                revision="abc",
                dtype="bfloat16",
                device="cuda",
                max_model_len=4096,
                block_size=32,
                max_num_seqs=8,
                max_num_batched_tokens=1024,
                kv_cache_bytes=512 * 2**20,
                gpu_memory_fraction=0.5,
                prefix_caching=False,
                target_itl_ms=80.0,
                max_queued_requests=7,
                max_concurrent_requests=9,
                max_queued_tokens=99,
                queue_timeout_s=1.5,
                num_threads=2,
                seed=3,
            ),
            ServerConfig(
                host="0.0.0.0",
                port=0,
                drain_timeout_s=12.5,
                api_keys_file="keys",
                gateway_key_file="gateway",
                metrics_port=9,
                keep_alive_s=3.0,
                slow_reader_s=4.0,
                watchdog_s=9.0,
                on_engine_death="restart",
            ),
        )
    ]


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--dtype=int4", "dtype is 'int4'; choose one of"),
        ("--block-size=17", "block_size is 17"),
        ("--port=70000", "port is 70000"),
        ("--drain-timeout=-1", "drain_timeout is -1"),
        ("--kv-cache-memory=lots", "kv-cache-memory is 'lots'"),
        ("--max-model-len=0", "max_model_len is 0"),
        ("--max-queued-requests=0", "max_queued_requests"),
        ("--host=0.0.0.0", "--api-keys-file, or say --no-auth"),
        ("--metrics-port=-1", "metrics_port is -1"),
        ("--keep-alive=0", "keep_alive_s is 0"),
        ("--watchdog=0.5", "watchdog is 0.5 s"),
        ("--on-engine-death=panic", "choose exit or restart"),
        ("--host=::", "--api-keys-file, or say --no-auth"),
        ("--host=example.org", "--api-keys-file, or say --no-auth"),
    ],
)
def test_a_bad_value_is_named_and_exits_with_2(run, flag, sentence):
    result, seen = run("dummy://tiny", flag)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not seen


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_on_loopback_no_key_is_asked_for(run, host):
    assert run("dummy://tiny", f"--host={host}")[0].exit_code == 0


def test_a_public_server_without_keys_must_be_wanted(run):
    _, seen = run("dummy://tiny", "--host=0.0.0.0", "--no-auth")
    assert seen[0][1].no_auth
    result, _ = run("dummy://tiny", "--no-auth", "--api-keys-file=keys")
    assert result.exit_code == 2
    assert "contradicts" in result.stderr


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("0", 0), ("1024", 1024), ("2K", 2000), ("3Mi", 3 * 2**20), ("1G", 10**9)],
)
def test_sizes_have_decimal_and_binary_units(text, num_bytes):
    assert cli.parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "Mi", "1.5Gi", "-1", "1MiB", "1 Mi"])
def test_anything_else_is_no_size(text):
    with pytest.raises(ConfigError, match="512Mi"):
        cli.parse_bytes(text)


def test_importing_the_command_imports_nothing_heavy():
    code = (
        "import sys, pagelet_engine.cli;"
        "print([m for m in ('torch', 'fastapi', 'uvicorn', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
