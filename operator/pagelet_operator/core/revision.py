"""What makes two specs the same revision.

A revision is a hash of the parts of a spec that need new replicas. Only what the user set
counts, so a field that a later version adds, with a default, restarts nothing.
"""

import hashlib
import json

from pagelet_operator.core.model import Template

HASH_LENGTH = 10


def revision_name(model_name: str, template: Template) -> str:
    """Return `<model_name>-<hash>`, the name of every object of the revision.

    Key order and white space do not matter. Ten hex digits: with a thousand revisions of one
    model a collision has odds of 5e-7.
    """
    canonical = json.dumps(template, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{model_name}-{hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]}"
