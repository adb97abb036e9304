"""The arguments of `pagelet serve` for one revision: the same in a pod and on one machine.

Only what the user set is said, as in the revision's hash, so a default that changes in a later
version of the operator restarts nothing. Where to listen is the caller's to add.
"""

from pagelet_operator.api.engine import EngineSettings
from pagelet_operator.api.quantities import memory_bytes, seconds
from pagelet_operator.api.spec import ModelDeploymentSpec

_FLAGS = {
    "dtype": "--dtype",
    "device": "--device",
    "max_model_len": "--max-model-len",
    "block_size": "--block-size",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
    "kv_cache_memory": "--kv-cache-memory",
    "gpu_memory_fraction": "--gpu-memory-fraction",
    "target_itl": "--target-itl-ms",
}
"""Flag of each engine setting; `image` chooses the container and is no argument."""


def engine_args(spec: ModelDeploymentSpec, name: str) -> list[str]:
    """Return what follows `pagelet serve`: the model's source, then `--flag=value` in fixed order.

    Args:
        spec: The revision's spec (`resource.template_spec` of its template).
        name: The resource's name, which clients send unless `model.name` says otherwise.
    """
    args = [spec.model.source, f"--served-model-name={spec.model.name or name}"]
    if spec.model.revision is not None:
        args.append(f"--revision={spec.model.revision}")
    defaults = EngineSettings()
    for field, flag in _FLAGS.items():
        value = getattr(spec.engine, field)
        if value != getattr(defaults, field):
            args.append(f"{flag}={_shown(field, value)}")
    return args


def _shown(field: str, value: object) -> str:
    # Plain numbers mean the same to every parser; Kubernetes' suffixes need not.
    if field == "kv_cache_memory":
        return str(memory_bytes(str(value)))
    return f"{seconds(str(value)) * 1000:g}" if field == "target_itl" else str(value)
