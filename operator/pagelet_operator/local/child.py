"""Becomes another program that the kernel ends together with the supervisor.

Run as a script, `child.py PARENT COMMAND...`, and only with the standard library: it asks for
SIGKILL at the parent's death (Linux, prctl(2) PR_SET_PDEATHSIG, which survives exec) and then
replaces itself. Not done between fork and exec of the supervisor, where a lock that another
thread holds would hang the child. Elsewhere than on Linux it only replaces itself; engine and
gateway are then ended by the supervisor alone.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""


def die_with(parent: int) -> None:
    """Have this process killed when its parent ends; end at once if that has happened."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above took effect
            sys.exit(1)


def main(arguments: list[str]) -> None:
    """Tie this process to `arguments[0]` and become `arguments[1:]`."""
    die_with(int(arguments[0]))
    os.execvp(arguments[1], arguments[1:])  # noqa: S606 - a list of arguments, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
