"""ModelDeployment documents for tests, and the list of what must be refused.

`BAD` feeds the pydantic models here and the API server in the cluster tests: the same
resources are refused by both.
"""

import copy
from typing import Any

MINIMAL: dict[str, Any] = {
    "apiVersion": "pagelet.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "chat"},
    "spec": {"model": {"source": "dummy://tiny"}},
}


def resource(**spec: Any) -> dict[str, Any]:
    """The minimal resource with these parts of the spec merged over it."""
    document = copy.deepcopy(MINIMAL)
    for part, value in spec.items():
        if isinstance(value, dict):
            document["spec"].setdefault(part, {}).update(value)
        else:
            document["spec"][part] = value
    return document


def named(name: Any) -> dict[str, Any]:
    document = copy.deepcopy(MINIMAL)
    document["metadata"]["name"] = name
    return document


def steps(*weights: int) -> dict[str, Any]:
    return resource(rollout={"steps": [{"weight": weight} for weight in weights]})


def fallback(**link: Any) -> dict[str, Any]:
    return resource(fallback=[link])


def tenant(name: str = "team", **fields: Any) -> dict[str, Any]:
    return {"name": name, "apiKeySecretRef": {"name": "keys", "key": name}, **fields}


def tenants(*found: dict[str, Any]) -> dict[str, Any]:
    return resource(limits={"tenants": list(found)})


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no source", {**MINIMAL, "spec": {"model": {}}}, "source"),
    ("no model", {**MINIMAL, "spec": {}}, "model"),
    ("source without scheme", resource(model={"source": "smollm2"}), "source"),
    ("source with unknown scheme", resource(model={"source": "ftp://x/y"}), "source"),
    ("unknown field in spec", resource(modle={}), "modle"),
    ("unknown field in engine", resource(engine={"maxModelLenn": 5}), "maxModelLenn"),
    ("dtype of the wrong kind", resource(engine={"dtype": "int3"}), "dtype"),
    ("block size that is no power of two", resource(engine={"blockSize": 17}), "blockSize"),
    ("zero sequences", resource(engine={"maxNumSeqs": 0}), "maxNumSeqs"),
    ("negative length", resource(engine={"maxModelLen": -1}), "maxModelLen"),
    ("length as text", resource(engine={"maxModelLen": "many"}), "maxModelLen"),
    (
        "a budget below the batch",
        resource(engine={"maxNumBatchedTokens": 8, "maxNumSeqs": 64}),
        "maxNumBatchedTokens",
    ),
    ("all of the GPU's memory", resource(engine={"gpuMemoryFraction": 1.0}), "gpuMemoryFraction"),
    ("memory with a wrong suffix", resource(engine={"kvCacheMemory": "2GB"}), "kvCacheMemory"),
    ("no replicas", resource(scaling={"minReplicas": 0}), "minReplicas"),
    (
        "a maximum below the minimum",
        resource(scaling={"minReplicas": 3, "maxReplicas": 2}),
        "maxReplicas must not be below minReplicas",
    ),
    (
        "two scalers",
        resource(scaling={"maxReplicas": 2, "external": True}),
        "remove maxReplicas, or external",
    ),
    ("a target of no time", resource(scaling={"targets": {"ttftP99": "0s"}}), "ttftP99"),
    ("steps that fall", steps(50, 25), "weights must rise"),
    ("steps that stand still", steps(25, 25), "weights must rise"),
    ("a step past 100", steps(5, 101), "weight"),
    ("a step of nothing", steps(0, 50), "weight"),
    ("no steps", resource(rollout={"steps": []}), "steps"),
    ("a hold without unit", resource(rollout={"steps": [{"weight": 5, "hold": "30"}]}), "hold"),
    ("a deadline that is no duration", resource(rollout={"progressDeadline": "soon"}), "Deadline"),
    ("an unknown strategy", resource(rollout={"strategy": "Yolo"}), "strategy"),
    ("an unknown capacity", resource(rollout={"capacity": "Squeeze"}), "capacity"),
    (
        "a loan without a canary",
        resource(rollout={"strategy": "BlueGreen", "capacity": "Borrow"}),
        "strategy Canary only",
    ),
    (
        "an approval of words",
        resource(rollout={"steps": [{"weight": 5, "approval": "me"}]}),
        "approval",
    ),
    ("no time for a request", resource(limits={"requestTimeout": "0s"}), "requestTimeout"),
    ("less than a second", resource(limits={"requestTimeout": "999ms"}), "requestTimeout"),
    ("a deadline of nothing", resource(rollout={"progressDeadline": "0s"}), "progressDeadline"),
    ("more than a year", resource(rollout={"retainStable": "8760h1ms"}), "retainStable"),
    ("more than any clock", resource(rollout={"retainStable": "9" * 23 + "h"}), "retainStable"),
    (
        "a hold of years",
        resource(rollout={"steps": [{"weight": 5, "hold": "9000h"}]}),
        "hold",
    ),
    (
        "a misspelt affinity",
        resource(pod={"affinity": {"nodeAffinty": {}}}),
        "nodeAffinty",
    ),
    (
        "an affinity to no place",
        resource(
            pod={
                "affinity": {
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}],
                    }
                }
            }
        ),
        "topologyKey",
    ),
    ("code by environment", resource(pod={"env": [{"name": "PYTHONPATH", "value": "/x"}]}), "env"),
    ("a preload", resource(pod={"env": [{"name": "LD_PRELOAD", "value": "/x"}]}), "env"),
    (
        "an environment variable set twice",
        resource(pod={"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
        "env",
    ),
    (
        "a budget below the default batch",
        resource(engine={"maxNumBatchedTokens": 63}),
        "maxNumBatchedTokens",
    ),
    ("a number as text", resource(scaling={"minReplicas": "2"}), "minReplicas"),
    ("memory as in a shop", resource(pod={"resources": {"limits": {"memory": "1GB"}}}), "memory"),
    ("half a replica", resource(scaling={"minReplicas": 1.5}), "minReplicas"),
    ("an empty secret name", resource(model={"tokenSecretRef": {"name": "", "key": "t"}}), "name"),
    ("a fallback to nothing", fallback(), "exactly one of modelDeployment and url"),
    (
        "a fallback to two places",
        fallback(modelDeployment="small", url="https://host/v1", model="m"),
        "exactly one of modelDeployment and url",
    ),
    ("a URL without a model", fallback(url="https://host/v1"), "url and model go together"),
    ("a model without a URL", fallback(modelDeployment="a", model="m"), "url and model"),
    (
        "a key for nobody",
        fallback(modelDeployment="a", apiKeySecretRef={"name": "s", "key": "k"}),
        "apiKeySecretRef belongs to url",
    ),
    ("a fallback to itself", fallback(modelDeployment="chat"), "names this ModelDeployment itself"),
    ("a URL with a user", fallback(url="https://me@host/v1", model="m"), "url"),
    ("a URL with a query", fallback(url="https://host/v1?key=1", model="m"), "url"),
    ("a URL of a file", fallback(url="file:///etc/passwd", model="m"), "url"),
    ("a chain without end", resource(fallback=[{"modelDeployment": "a"}] * 6), "fallback"),
    ("a tenant without a name", tenants(tenant("")), "tenants[0].name"),
    ("a tenant's name of two lines", tenants(tenant("a\nb")), "name"),
    ("a tenant without keys", tenants({"name": "team"}), "apiKeySecretRef"),
    ("two tenants of a name", tenants(tenant(), tenant()), "tenants[1]"),
    ("a tenant of no weight", tenants(tenant(weight=0)), "weight"),
    (
        "a Secret in another folder",
        tenants(tenant(apiKeySecretRef={"name": "..", "key": "k"})),
        "name",
    ),
    ("no request at all", resource(limits={"maxConcurrentRequests": 0}), "maxConcurrentRequests"),
    ("more tokens than counted", resource(limits={"tokensPerMinute": 2**31}), "tokensPerMinute"),
    ("a policy nobody has", resource(routing={"policy": "Random"}), "policy"),
    ("more than everything", resource(routing={"mirrorPercent": 101}), "mirrorPercent"),
    ("a breaker that never opens", resource(circuitBreaker={"errorRatePercent": 0}), "errorRate"),
    ("a breaker open for no time", resource(circuitBreaker={"openFor": "0s"}), "openFor"),
    ("a name too long for its Services", named("a" * 51), "name"),
    ("a name that starts with a digit", named("7b-chat"), "name"),
    (
        "a load test without a profile",
        resource(rollout={"gates": {"loadTest": {}}}),
        "loadTest needs a profile",
    ),
    (
        "a stored baseline that nobody stores",
        resource(rollout={"analysis": {"baseline": "Fixed"}}),
        "name rollout.gates.loadTest",
    ),
    (
        "an unknown metric",
        resource(rollout={"analysis": {"metrics": [{"name": "ttftP98", "max": "1s"}]}}),
        "metrics",
    ),
    (
        "a metric without limit",
        resource(rollout={"analysis": {"metrics": [{"name": "ttftP95"}]}}),
        "needs max",
    ),
    (
        "a latency without unit",
        resource(rollout={"analysis": {"metrics": [{"name": "ttftP95", "max": "5"}]}}),
        "800ms",
    ),
    (
        "a rate that is no percentage",
        resource(rollout={"analysis": {"metrics": [{"name": "errorRate", "max": "0.01"}]}}),
        "1.5%",
    ),
    (
        "a most of what should be much",
        resource(rollout={"analysis": {"metrics": [{"name": "tokensPerSecond", "max": "9"}]}}),
        "min and maxDecreasePercent",
    ),
    (
        "a metric named twice",
        resource(rollout={"analysis": {"metrics": [{"name": "itlP95", "max": "1s"}] * 2}}),
        "named twice",
    ),
    (
        "a rate above all there is",
        resource(rollout={"analysis": {"metrics": [{"name": "errorRate", "max": "200%"}]}}),
        "below 100",
    ),
    (
        "a rate of all there is",
        resource(rollout={"analysis": {"metrics": [{"name": "abandonRate", "max": "100.0%"}]}}),
        "below 100",
    ),
    (
        "a rate that may rise by all there is",
        resource(
            rollout={"analysis": {"metrics": [{"name": "timeoutRate", "maxIncreasePercent": 100}]}}
        ),
        "below 100",
    ),
    (
        "a latency of nothing",
        resource(rollout={"analysis": {"metrics": [{"name": "ttftP95", "max": "0ms"}]}}),
        "above 0",
    ),
    (
        "a speed that everything has",
        resource(rollout={"analysis": {"metrics": [{"name": "tokensPerSecond", "min": "0.0"}]}}),
        "above 0",
    ),
]

LEFT_OUT: list[tuple[str, dict[str, Any]]] = [
    (part, {**MINIMAL, "spec": {**MINIMAL["spec"], part: None}})
    for part in ("engine", "pod", "scaling", "rollout", "limits", "routing", "fallback")
] + [
    ("analysis", resource(rollout={"analysis": None})),
    ("metrics", resource(rollout={"analysis": {"metrics": None}})),
    ("steps", resource(rollout={"steps": None})),
    ("a hold", resource(rollout={"steps": [{"weight": 5, "hold": None}]})),
    ("tenants", resource(limits={"tenants": None})),
    ("dtype", resource(engine={"dtype": None})),
    ("model revision", resource(model={"revision": None})),
]
"""What has a default written as null, as a key is in YAML whose lines are commented out."""

BAD_FOR_PARSE_ONLY: list[tuple[str, dict[str, Any], str]] = [
    ("a claim in capitals", resource(model={"source": "pvc://Weights/llama"}), "source"),
    ("a path out of the claim", resource(model={"source": "pvc://weights/../x"}), "source"),
]
"""Stored by the API server, refused by the operator: rules that CEL would say less well."""
