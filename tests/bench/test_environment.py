"""A result says what it was measured on."""

import subprocess

from pagelet_bench.environment import command, commit, describe, hardware, versions


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_hardware_is_described_with_units():
    found = hardware()
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 2**28
    assert found["cpu"]
    assert isinstance(found["gpus"], list)


def test_versions_name_what_can_change_a_figure():
    assert {"python", "kernel", "aiohttp"} <= set(versions())


def test_a_commit_is_named_and_changed_files_mark_it(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "One")
    assert commit(tmp_path) == git(tmp_path, "rev-parse", "--short=12", "HEAD")
    (tmp_path / "a").write_text("2")
    assert commit(tmp_path).endswith("-dirty")


def test_a_copy_installed_inside_some_other_repository_has_no_commit(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "One")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "b").write_text("1")
    assert commit(tmp_path / "site-packages") is None


def test_without_git_there_is_no_commit(tmp_path):
    assert commit(tmp_path) is None


def test_a_command_can_be_typed_again_and_hides_where_the_program_lies():
    assert command(["/usr/local/bin/pagelet", "bench", "a b"]) == "pagelet bench 'a b'"


def test_a_command_is_kept_without_its_keys():
    told = command(["pagelet", "bench", "--api-key", "s3cret", "--against-api-key=s3cret", "u"])
    assert told == "pagelet bench --api-key '***' '--against-api-key=***' u"


def test_a_description_has_all_parts():
    assert set(describe()) == {"hardware", "versions", "commit", "command"}
