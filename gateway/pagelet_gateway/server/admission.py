"""Lets a request in: within the caps, charged to its quotas, settled when it ends."""

import math

from pagelet_gateway.core import caps
from pagelet_gateway.core.quota import Limit, Refused, Scope, Standing, Standings
from pagelet_gateway.core.route_table import ModelRoute, Revision, Role, RouteTable
from pagelet_gateway.core.tenancy import Caller
from pagelet_gateway.errors import OutputCapError, PromptCapError, QuotaError, RequestError
from pagelet_gateway.metrics import Outcome
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.exchange import Headers
from pagelet_gateway.server.peek import Peek
from pagelet_gateway.server.quotas import Quotas
from pagelet_gateway.server.sse import EventGate
from pagelet_gateway.tenant_metrics import TenantMetrics

GENERATES = frozenset({"/v1/chat/completions", "/v1/completions"})
"""Paths whose requests use tokens; all others count as requests only."""

_WORDS = {
    Limit.CONCURRENT: "requests at once",
    Limit.REQUESTS: "requests per minute",
    Limit.TOKENS: "tokens per minute",
}
_FREE = frozenset({Outcome.CLIENT_ERROR, Outcome.UPSTREAM_ERROR, Outcome.UNAVAILABLE})
"""Ends before an engine generated anything."""


class Admission:
    """Caps and quotas of every request; belongs to one event loop."""

    def __init__(self, quotas: Quotas, metrics: TenantMetrics) -> None:
        self._quotas = quotas
        self._metrics = metrics
        self._table: RouteTable | None = None

    def check(self, caller: Caller, seen: Peek) -> None:
        """Refuse what asks for more than one request may have.

        Raises:
            PromptCapError: Its prompt, given as token ids, is too long.
            OutputCapError: It asks for too much output.
        """
        prompt_said = caps.prompt_refusal(caller.route.caps, seen.num_prompt_ids)
        if prompt_said is not None:
            raise self._capped(caller, PromptCapError(prompt_said, param="prompt"))
        said = caps.refusal(
            caller.route.caps, max_tokens=seen.max_tokens, num_choices=seen.num_choices
        )
        if said is not None:
            param = "max_tokens" if seen.max_tokens else "n"
            raise self._capped(caller, OutputCapError(said, param=param))

    def _capped(self, caller: Caller, refusal: RequestError) -> RequestError:
        self._metrics.reject((caller.route.name, caller.label), refusal.code)
        return refusal

    async def admit(self, call: Call, table: RouteTable) -> None:
        """Charge a request to tenant, model and revision; sets `call.grant`.

        A canary that has had its fill passes the request on to stable, unless a tester chose
        it: the quota bounds what a bad canary can harm and is no reason to turn users away.

        Raises:
            QuotaError: One of them has nothing left.
        """
        self._forget_departed(table)
        caller = call.caller
        tokens = _estimate(call)
        answer = await self._quotas.admit(
            _scopes(caller, call.revision), tokens, call.remaining_s()
        )
        if isinstance(answer, Refused) and answer.scope.key[0] == "revision":
            stable = _stand_in(call)
            if stable is not None:
                call.revision = stable.name
                answer = await self._quotas.admit(
                    _scopes(caller, stable.name), tokens, call.remaining_s()
                )
        call.exchange.extra_headers = _headers(answer.standings)
        if isinstance(answer, Refused):
            self._metrics.reject((call.model, caller.label), answer.limit)
            raise _refusal(caller, answer)
        call.grant = answer
        self._metrics.begin((call.model, caller.label))

    def settle(self, call: Call) -> None:
        """End an admitted request, charged with what it used; however it ended."""
        grant, call.grant = call.grant, None
        if grant is not None:
            used = _used(call, grant.tokens)
            self._quotas.settle(grant, used)
            self._metrics.end((call.model, call.caller.label), used)

    def _forget_departed(self, table: RouteTable) -> None:
        if table is self._table:
            return
        self._table = table
        self._quotas.keep_only(_Named(table))
        self._metrics.keep_only(_TenantsOf(table))


class _Named:
    """The scopes a table names. Asked only for those that have accounts, which are few."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, tuple):
            return False
        kind, model, *rest = key
        route = self._table.models.get(model)
        if route is None or kind == "model":
            return route is not None
        named = route.revisions if kind == "revision" else route.tenants or ()
        return any(each.name == rest[0] for each in named)


class _TenantsOf:
    """The (model, tenant) pairs a table names; the tenant is empty where all may come in."""

    def __init__(self, table: RouteTable) -> None:
        self._scopes = _Named(table)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, tuple):
            return False
        model, tenant = key
        return (("tenant", model, tenant) if tenant else ("model", model)) in self._scopes


def _scopes(caller: Caller, revision: str) -> list[Scope]:
    """All a request falls under; first the one its client may know of.

    A tenant is not told how the model stands as a whole, which is the others' traffic.
    """
    route = caller.route
    scopes = [Scope(("model", route.name), route.quota)]
    if caller.tenant is not None:
        scopes.insert(0, Scope(("tenant", route.name, caller.tenant.name), caller.tenant.quota))
    found = _revision(route, revision)
    if found is not None:
        scopes.append(Scope(("revision", route.name, revision), found.quota))
    return scopes


def _revision(route: ModelRoute, name: str) -> Revision | None:
    return next((each for each in route.revisions if each.name == name), None)


def _stand_in(call: Call) -> Revision | None:
    assigned = _revision(call.caller.route, call.revision)
    if call.is_pinned or assigned is None or assigned.role is Role.STABLE:
        return None
    serving = call.caller.route.serving
    return next((each for each in serving if each.role is Role.STABLE), None)


def _estimate(call: Call) -> int:
    seen = call.seen
    if call.exchange.path not in GENERATES:
        return 0
    return caps.estimate(
        call.caller.route.caps,
        num_prompt_bytes=seen.num_prompt_bytes,
        max_tokens=seen.max_tokens,
        num_choices=seen.num_choices,
    )


def _used(call: Call, estimate: int) -> int:
    """The tokens a request used, as far as anybody knows.

    The engine's own count if it gave one. A stream that broke off or was left: its prompt, as the
    engine counted it if it said so at the start, and one token per event. Nothing if no engine
    generated. A whole answer whose client left while it was made: the estimate stands, or leaving
    early would be free.
    """
    if call.exchange.path not in GENERATES:
        return 0
    if call.usage is not None:
        return call.usage.total
    prompt = caps.prompt_estimate(call.seen.num_prompt_bytes)
    if call.gate is not None:
        return _used_by_stream(call.gate, prompt)
    if call.outcome in _FREE or not call.attempts:
        return 0
    return prompt if call.seen.is_stream else estimate


def _used_by_stream(gate: EventGate, prompt: int) -> int:
    if gate.usage is not None:
        return gate.usage.total
    return (prompt if gate.prompt_tokens is None else gate.prompt_tokens) + gate.num_events


def _refusal(caller: Caller, refused: Refused) -> QuotaError:
    whose = {
        "tenant": f"This key's tenant may have {refused.allowed}",
        "model": f"The model {caller.route.name!r} has room for {refused.allowed}",
        "revision": f"This revision has room for {refused.allowed}",
    }[refused.scope.key[0]]
    wait_s = max(1, math.ceil(refused.retry_after_s))
    return QuotaError(
        f"{whose} {_WORDS[refused.limit]}, and that is used up; try again in {wait_s} s.",
        code=refused.limit.value,
        retry_after_s=wait_s,
    )


def _headers(standings: Standings) -> Headers:
    """OpenAI's rate-limit headers.

    Source: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    headers: Headers = []
    for name, standing in ((b"requests", standings.requests), (b"tokens", standings.tokens)):
        if standing is not None:
            headers += _three(name, standing)
    return headers


def _three(name: bytes, standing: Standing) -> Headers:
    return [
        (b"x-ratelimit-limit-" + name, b"%d" % standing.limit),
        (b"x-ratelimit-remaining-" + name, b"%d" % standing.remaining),
        (b"x-ratelimit-reset-" + name, b"%.3fs" % standing.reset_s),
    ]
