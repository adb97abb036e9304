"""The demo as a test: a good revision is promoted, a bad one withdrawn, nobody notices either."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo/canary.py"


@pytest.mark.timeout(420)
def test_users_decide_who_is_promoted_and_none_of_their_requests_fails():
    done = subprocess.run(
        [sys.executable, DEMO], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert summary["good"]["reason"] == "Promoted"
    assert summary["bad"]["reason"] == "AnalysisFailed"
    assert summary["failed"] == 0
    assert summary["served"] > 100
    assert "itlP50" in summary["bad"]["message"], "the sentence names what users felt"
    # It never got beyond its first step, and its slow answers make it late for its share.
    assert summary["bad"]["share"] <= 5.0
