"""Published advisories of model servers, and the replayed requests that are of their class.

An advisory whose cause cannot be reached over HTTP here (a socket or a loader that does not exist)
is replayed as the request that would reach it. Sources: the GitHub Advisory Database and PyPI's.
"""

ADVISORIES: dict[str, tuple[str, ...]] = {
    # a request's schema, pattern or grammar
    "CVE-2025-48942": ("a schema that is no schema", "a schema in place of text"),
    "CVE-2025-48943": ("a regex that does not compile", "a schema with a broken pattern"),
    "GHSA-vrq3-r879-7m65": ("a tool with a broken pattern", "a tool that is text"),
    "CVE-2025-71379": ("a regex that backtracks", "tool calls that backtrack"),
    "CVE-2026-55574": ("a regex that explodes", "a regex of megabytes"),
    "CVE-2025-29770": ("a schema with a huge enumeration", "a choice of a million"),
    "CVE-2025-32381": ("a grammar of many rules",),
    "CVE-2026-25048": ("a grammar that nests without end",),
    "GHSA-9q5r-wfvf-rr7f": ("a schema nested without end",),
    "CVE-2026-105757": ("a grammar that refers to itself", "a grammar that is none"),
    "GHSA-fpch-3xrf-7q96": ("a forced tool and a forced format", "two constraints"),
    # templates
    "PYSEC-2026-2013": ("a template in the request",),
    "CVE-2026-115911": ("a template that never ends",),
    "CVE-2026-115918": ("a template on a sibling route",),
    "CVE-2025-62426": ("template arguments that reach the tokenizer",),
    "CVE-2026-5760": ("a route that renders templates",),
    "CVE-2026-37004": ("a template that reads attributes",),
    # sizes and counts
    "CVE-2026-34756": ("a million choices",),
    "CVE-2026-73559": ("a fan-out of prompts", "a fan-out of prompts and choices"),
    "CVE-2026-71486": ("token ids to decode without end",),
    "PYSEC-2026-4350": ("logprobs of the whole vocabulary", "top logprobs without logprobs"),
    # ranges checked too late
    "CVE-2026-114051": ("null max_tokens and large min_tokens",),
    "CVE-2026-93989": ("a bad word outside the vocabulary",),
    "CVE-2026-44223": ("penalties at the edge",),
    "CVE-2026-105922": ("a penalty over token ids of the prompt",),
    "CVE-2026-44222": ("a placeholder for a picture", "control tokens in a message"),
    "PYSEC-2026-4353": ("a placeholder with a range",),
    "GHSA-v97p-wpxp-px84": ("one token after many",),
    # embeddings, media, adapters, weights: what is not offered here
    "CVE-2026-56340": ("embeddings in place of a prompt",),
    "PYSEC-2026-2303": ("embeddings beside a prompt",),
    "CVE-2026-24779": ("a picture to fetch", "a schema that refers to a URL"),
    "CVE-2025-6242": ("a picture from a file",),
    "CVE-2026-100650": ("a picture of megabytes within the request",),
    "PYSEC-2025-43": ("two pictures that look alike",),
    "CVE-2026-22807": ("code to trust",),
    "CVE-2026-47155": ("another revision of the model",),
    "CVE-2025-24357": ("an adapter path",),
    "CVE-2026-7304": ("a logit processor as code",),
    "CVE-2026-93034": ("an object wrapped as a pickle",),
    "CVE-2026-115912": ("a handle of shared memory", "a parameter of the transfer"),
    "CVE-2026-15976": ("weights to load from a file",),
    "CVE-2026-15969": ("weights to load from a pickle",),
    "CVE-2026-65119": ("a tokenizer to load",),
    "CVE-2024-9053": ("a pickle",),
    # tenants and ids
    "CVE-2026-105756": ("a salt for the cache", "a salt that is a number"),
    "CVE-2025-46570": ("a prompt that somebody else has sent",),
    "PYSEC-2026-4198": ("a request id of somebody else", "a request id that is used twice"),
    "CVE-2025-59425": ("a key that is nearly one",),
    # what stands beside a model server
    "CVE-2023-48022": ("a job to run",),
    "CVE-2023-48023": ("an address to fetch from",),
    "CVE-2023-6019": ("a command in a query",),
    "CVE-2025-62593": ("a foreign host",),
    "CVE-2026-111750": ("two lengths",),
    "CVE-2025-69223": ("a compressed body",),
}
"""Advisory to the names of its cases in test_cve_replay."""
