"""The command line of a gate's program, the same for a child process and a Job."""

import json

from pagelet_operator.core.gates import Gate


def arguments(
    gate: Gate,
    *,
    served_name: str,
    canary: str,
    stable: str | None,
    key_file: str | None,
    summary: str,
) -> list[str]:
    """Return what follows `pagelet`.

    Args:
        gate: Which gate, and what it is asked to do.
        served_name: The `model` of its requests.
        canary: Base URL of the canary's replica.
        stable: Base URL of stable's replica, for gates that compare.
        key_file: File with the key that engines know gateways by, if they have one.
        summary: File the program writes its figures to.
    """
    told = json.dumps(dict(gate.settings), sort_keys=True, separators=(",", ":"))
    args = ["gate", gate.kind.value, canary, f"--model={served_name}", f"--settings={told}"]
    args += [f"--against={stable}"] if stable is not None else []
    args += [f"--key-file={key_file}"] if key_file is not None else []
    return [*args, f"--summary={summary}"]
