"""Writes the dashboards into the chart.

    python -m pagelet.dashboards [--check]

With `--check` it writes nothing and exits with 1 if a file is not current.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pagelet.dashboards.control import OPERATOR
from pagelet.dashboards.engine import ENGINE
from pagelet.dashboards.fleet import FLEET
from pagelet.dashboards.grafana import dashboard
from pagelet.dashboards.one_model import MODEL

BOARDS = (FLEET, MODEL, ENGINE, OPERATOR)
FOLDER = "charts/pagelet/files/dashboards"


def files() -> dict[str, str]:
    """Return path (from the repository's root) and content of every dashboard."""
    return {
        f"{FOLDER}/{board.uid.removeprefix('pagelet-')}.json": _json(dashboard(board))
        for board in BOARDS
    }


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str], root: Path) -> int:
    """Write or check the files under `root`; return the exit status."""
    stale = {
        path: text
        for path, text in files().items()
        if not (root / path).is_file() or (root / path).read_text("utf-8") != text
    }
    for path, text in stale.items():
        if "--check" in arguments:
            print(f"{path} is not current; run make generate")
            continue
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        print(f"wrote {path}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
