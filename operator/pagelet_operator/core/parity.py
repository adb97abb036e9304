"""Output parity: do two revisions say the same when nothing is left to chance?

Both complete the same prompts greedily. From the first token that differs the rest differs for
that reason alone, so a prompt counts by the tokens before it. The same weights on the same kind
of machine agree to the last token; another precision or kernel parts late, where two tokens are
nearly as likely; other weights part at once.
"""

from collections.abc import Mapping

from pagelet_operator.core.gates import GateResult, GateStatus

SAME_MODEL = ("source", "revision")
"""Of `model`, what decides about the weights and the tokenizer."""


def changes_model(canary: Mapping[str, object], stable: Mapping[str, object]) -> bool:
    """Say whether two templates ask for different weights: then other words are no fault."""
    ours, theirs = canary.get("model"), stable.get("model")
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return True
    return any(ours.get(name) != theirs.get(name) for name in SAME_MODEL)


def judge(figures: Mapping[str, float], min_agreement_percent: float) -> GateResult:
    """Return a parity gate's result.

    Args:
        figures: `prompts` compared, `agreementPercent` of tokens before the first that differs,
            `identicalPercent` of prompts, `firstDivergence` (mean position, tokens).
        min_agreement_percent: Least share of tokens.
    """
    if not figures.get("prompts") or "agreementPercent" not in figures:
        return GateResult(status=GateStatus.ERROR, message="no answer could be compared")
    agreed = figures["agreementPercent"]
    told = (
        f"{agreed:.3g} % of tokens agree with stable, {figures.get('identicalPercent', 0.0):.3g} % "
        f"of {figures['prompts']:.0f} prompts to the end"
    )
    if agreed >= min_agreement_percent:
        return GateResult(status=GateStatus.PASSED, message=told, figures=figures)
    parted = figures.get("firstDivergence")
    where = "" if parted is None else f"; those that part do so after {parted:.3g} tokens"
    text = f"{told}{where}; at least {min_agreement_percent:g} % have to"
    return GateResult(status=GateStatus.FAILED, message=text, figures=figures)
