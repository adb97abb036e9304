"""What `pagelet plan` prints: what applying files does, and what it takes where that is asked."""

import json
from collections.abc import Sequence
from pathlib import Path

from pagelet_operator.api.documents import load_all
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.local import plan as applying
from pagelet_operator.planner import text
from pagelet_operator.planner.answer import Options, answer


def report(files: Sequence[Path], options: Options, *, as_json: bool) -> str:
    """Return the whole answer.

    Raises:
        InvalidResourceError: A file holds what cannot work as written.
        PlanError: An input beside the files cannot be used; names the resource and the flag.
    """
    parts = []
    documents = []
    for resource in load_all(files):
        planned = applying.planned(resource)
        document, shown = planned.to_json(), applying.text([planned])
        if options.is_asked:
            try:
                found = answer(resource, options)
            except PlanError as error:
                raise PlanError(f"{planned.model}: {error}") from None
            document["estimate"] = text.to_json(found)
            shown += "\n" + text.text(found)
        documents.append(document)
        parts.append(shown)
    return json.dumps({"models": documents}, indent=2) if as_json else "\n\n".join(parts)
