"""Carries out a person's commands, each once, or says why not."""

from dataclasses import replace

from pagelet_operator.core.gating import forgive
from pagelet_operator.core.rollout.commands import Command, CommandKind
from pagelet_operator.core.rollout.look import Look
from pagelet_operator.core.rollout.state import ON_TRIAL, Answer, Pause, Phase, RolloutState
from pagelet_operator.core.rollout.trial import Undecided, begin, enter, fail

Step = tuple[RolloutState, str | None]
"""The state after a command, and its reason; None for a command that changed nothing."""


def obey(state: RolloutState, look: Look) -> Step:
    """Carry out the last command, unless it was answered before."""
    command = look.seen.command
    if command is None or (state.answer is not None and state.answer.token == command.token):
        return state, None
    refusal = _refusal(state, look, command)
    if refusal is not None or command.kind is None:
        return replace(state, answer=Answer(command.token, False, refusal or "")), None
    state, reason, done = _obeyed(state, look, command.kind)
    return replace(state, answer=Answer(command.token, True, done)), reason


def _refusal(state: RolloutState, look: Look, command: Command) -> str | None:
    """Return why the command cannot be carried out, or None."""
    if command.kind is None:
        known = ", ".join(kind.value for kind in CommandKind)
        word = command.token.partition("/")[0]
        return f"{word!r} is no command; there are {known}"
    if command.kind is CommandKind.RETRY:
        return _no_retry(state, command)
    if state.canary is None:
        what = f"{state.stable} serves all requests"
        if state.phase is Phase.FAILED:
            what += f" and {state.failed} was withdrawn; retry tries it again"
        return f"nothing to {command.kind}: {what}"
    if command.revision not in (None, state.canary):
        return f"{command.revision} is not on trial, {state.canary} is"
    if state.stable is None:
        return f"nothing to {command.kind}: {state.canary} is the first revision; edit the spec"
    return _not_now(state, look, command.kind)


def _no_retry(state: RolloutState, command: Command) -> str | None:
    failed = state.canary if state.stable is None else state.failed
    if state.phase is not Phase.FAILED or failed is None:
        return "nothing to retry: no revision was withdrawn"
    if command.revision not in (None, failed):
        return f"{command.revision} was not withdrawn, {failed} was"
    return None


def _not_now(state: RolloutState, look: Look, kind: CommandKind) -> str | None:
    """Return why the canary's place in the rollout forbids the command, or None."""
    match kind:
        case CommandKind.PROMOTE | CommandKind.PROMOTE_FULL:
            have, need = look.have(state), look.need(state)
            if have < need:
                return f"{state.canary} has {have} of {need} replicas ready; its traffic needs them"
        case CommandKind.PAUSE if state.phase is Phase.PROMOTING:
            return f"{state.canary} is being promoted; abort takes it back"
        case CommandKind.RESUME if state.paused is None:
            if state.phase is Phase.AWAITING_APPROVAL:
                return "it is not paused but waits for approval; promote gives it"
            return "it is not paused"
        case _:
            pass
    return None


def _obeyed(state: RolloutState, look: Look, kind: CommandKind) -> tuple[RolloutState, str, str]:
    """Return the state after the command, the reason, and what was done."""
    canary = state.canary
    match kind:
        case CommandKind.PROMOTE:
            state = _leave_step(resumed(state, look.now), look)
            return state, "PromotionCommanded", state.message
        case CommandKind.PROMOTE_FULL:
            state = enter(resumed(state, look.now), look, len(look.steps(state)))
            return state, "PromotionCommanded", state.message
        case CommandKind.PAUSE:
            since = look.now if state.paused is None else state.paused.since
            text = f"paused by command; {canary} keeps {state.weight or 0} %"
            state = replace(state, paused=Pause(since, "Paused", text), message=text)
            return state, "Paused", text
        case CommandKind.RESUME:
            state = resumed(state, look.now)
            return state, "Resumed", f"{canary} goes on where it was"
        case CommandKind.ABORT:
            text = f"{canary} was aborted by command"
            state = fail(state, look, text)
            return state, "Aborted", state.message
        case CommandKind.RETRY:
            failed = canary if state.stable is None else state.failed
            return _again(state, failed or "", look), "Retried", f"{failed} is tried again"


def _leave_step(state: RolloutState, look: Look) -> RolloutState:
    # Out of the gates the first step comes; out of a step the next one.
    return enter(state, look, state.step + 1 if state.phase in ON_TRIAL else state.step)


def _again(state: RolloutState, revision: str, look: Look) -> RolloutState:
    state = replace(state, failed=None, gates=forgive(state.gates, revision))
    return begin(state, revision, look)


def resumed(state: RolloutState, now: float) -> RolloutState:
    """End a pause as if its time had not passed; what was undecided gets its whole time again."""
    if state.paused is None:
        return state
    lost_s = now - state.paused.since
    undecided = state.undecided_since
    if undecided is not None:
        undecided = now if state.paused.reason in set(Undecided) else undecided + lost_s
    unready = None if state.unready_since is None else state.unready_since + lost_s
    return replace(
        state,
        paused=None,
        step_started_at=state.step_started_at + lost_s,
        unready_since=unready,
        undecided_since=undecided,
        message=f"{state.canary} goes on",
    )
