"""A model that was never load-tested is, under `pagelet up`, once nobody is there."""

import asyncio

from local_client import chat
from local_processes import until_sync
from local_up import Up, resource, write
from pagelet_operator.local.rollout_client import LocalRollouts

BY_TIME = {"steps": [{"weight": 50, "hold": "300ms"}], "retainStable": "1h",
           "analysis": {"metrics": []}}  # fmt: skip
GATED = {**BY_TIME, "gates": {"loadTest": {"profile": "single", "requests": 1}}}
HOUR_S = 6.0


def asked(up):
    """The model's status; none before it is known."""
    return asyncio.run(LocalRollouts(up.state_dir).status("chat"))


def condition(up):
    found = asked(up)["conditions"]
    return next((item for item in found if item["type"] == "PerformanceValidated"), None)


def has(up, status, reason):
    return until_sync(
        lambda: (said := condition(up)) and (said["status"], said["reason"]) == (status, reason),
        within_s=120.0,
        what=lambda: f"{condition(up)} in:\n{up.story()}",
    )


def test_another_model_is_load_tested_once_nobody_is_there(tmp_path):
    path = tmp_path / "models.yaml"
    write(path, resource(rollout=BY_TIME))
    with Up(path, state_dir=tmp_path / "state", env={"HOUR_S": str(HOUR_S)}) as up:
        up.wait_for("Serving")
        tested = resource(engine={"maxModelLen": 64}, rollout=GATED)
        write(path, tested)
        has(up, "True", "LoadTested")
        other = resource(rollout=BY_TIME) | {}
        other["spec"]["model"] = {"source": "dummy://other"}
        write(path, other)
        has(up, "False", "ModelChanged")
        assert "rollout.gates.loadTest" in condition(up)["message"]
        assert chat(up.url).status == 200
        gated = {**other, "spec": {**other["spec"], "rollout": GATED}}
        write(path, gated)
        has(up, "True", "LoadTested")
        assert chat(up.url).status == 200
        status = asked(up)
        stable = status["stable"]["revision"]
        results = [item for item in status["rollout"]["gates"] if item["revision"] == stable]
        assert [(item["gate"], item["status"]) for item in results] == [("loadTest", "Passed")]
        up.interrupt()
        assert up.end() == 0
