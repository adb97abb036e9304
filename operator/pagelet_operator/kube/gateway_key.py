"""The key that the engines of a model know gateways by: one Secret per ModelDeployment.

Engines admit nobody else, so a limit cannot be passed by, and believe a gateway's headers about
tenant and deadline. The Secret is made once, from the system's randomness, and never written
again; whoever replaces its content changes the key for gateways and engines within about a
minute. Here only its metadata is looked at; `engine_keys` reads the key, to ask engines for their
metrics.
"""

import base64
import secrets

from pagelet_operator.kube.api import SECRETS, Api, ApiError, ConflictError, NoAnswerError, Object
from pagelet_operator.kube.manifests import (
    GATEWAY_KEY,
    Owner,
    gateway_key_name,
    gateway_key_secret,
)

KEY_BYTES = 32
"""256 bits, as many as the hash that is compared."""


async def ensure(api: Api, owner: Owner) -> tuple[int, str | None]:
    """Make the model's Secret if it is not there.

    Returns:
        How many writes it took, and why the Secret could not be made, if so.

    Raises:
        NoAnswerError: The API server did not answer.
    """
    name = gateway_key_name(owner.ref.name)
    try:
        found = await api.get_metadata(SECRETS, owner.ref.namespace, name)
        if found is not None:
            trouble = f"Secret {name} is still being removed" if _is_going(found, owner) else None
            return 0, trouble
        key = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES))
        await api.create(SECRETS, gateway_key_secret(owner, {GATEWAY_KEY: key.decode()}))
    except ConflictError:
        return 0, None  # Somebody else made it since; any key that both sides read will do.
    except NoAnswerError:
        raise
    except ApiError as error:
        return 0, str(error)
    return 1, None


def _is_going(found: Object, owner: Owner) -> bool:
    """Whether it ends, or belonged to a namesake that was deleted and ends with it."""
    metadata = found["metadata"]
    return "deletionTimestamp" in metadata or any(
        reference["kind"] == "ModelDeployment"
        and reference["name"] == owner.ref.name
        and reference["uid"] != owner.uid
        for reference in metadata.get("ownerReferences", ())
    )
