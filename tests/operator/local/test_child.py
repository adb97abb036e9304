import os
import subprocess
import sys

from pagelet_operator.local import child


def run(parent):
    args = [sys.executable, "-I", "-S", child.__file__, str(parent), "/bin/echo", "it ran"]
    return subprocess.run(args, capture_output=True, text=True, check=False)


def test_it_becomes_the_command():
    assert run(os.getpid()).stdout == "it ran\n"


def test_it_ends_at_once_when_its_parent_has_gone():
    done = run(1)
    assert (done.returncode, done.stdout) == (1, "")
