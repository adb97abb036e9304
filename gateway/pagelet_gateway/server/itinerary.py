"""Where a request goes next: the model's own endpoints, then its fallbacks, then hopeless ones."""

from pagelet_gateway.core.caps import prompt_refusal, refusal
from pagelet_gateway.core.fallback import MAX_LINKS
from pagelet_gateway.core.retry import Failure
from pagelet_gateway.core.router import Router, Target
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.elsewhere import url_of

_SAME_AGAIN = frozenset({Failure.RESET, Failure.REFUSED, Failure.DRAINING})
"""After these the endpoint itself may be sound: a connection that was idle for too long, or a
restart that has ended by now."""


class Itinerary:
    """Chooses the targets of one call after another."""

    def __init__(self, router: Router, max_attempts: int) -> None:
        self._router = router
        self._max_attempts = max_attempts

    def first(self, call: Call, now: float) -> Target | None:
        """Where a new request goes; what is known to refuse only when there is no fallback."""
        self._rule_out(call)
        return (
            self._own(call, now, even_avoided=False)
            or self._fallback(call, now)
            or self._own(call, now, even_avoided=True)
        )

    def around(self, call: Call, now: float) -> Target | None:
        """Where a request goes whose own endpoints have enough; None if only they are left."""
        found = self._fallback(call, now)
        is_full = found is not None and self._router.is_full(found.url, now)
        return None if is_full else found

    def next(self, call: Call, last: Target, failure: Failure, now: float) -> Target | None:
        """Where a request goes after `last` failed.

        An endpoint that others were refused by is asked as a last resort, but only once per
        request, which keeps attempts near one in an outage.
        """
        if last.link is not None:
            return self._fallback(call, now)
        stays = failure is not Failure.PROTOCOL and call.attempts < self._max_attempts
        target = self._own(call, now, even_avoided=False) if stays else None
        target = target or self._fallback(call, now)
        if target is None and stays:
            target = self._own(call, now, even_avoided=not last.was_avoided)
            if target is None and failure in _SAME_AGAIN:
                target = self._own(call, now, even_avoided=False, even_tried=True)
        return target

    def knows_another(self, call: Call, current: Target, now: float) -> bool:
        """Whether there is somewhere to go but `current`."""
        if current.link is not None:
            spent = call.spent | {current.link.name}
            return self._fallback(call, now, spent) is not None
        own = None
        if call.attempts < self._max_attempts:
            tried = call.tried | {current.url}
            own = self._own(call, now, even_avoided=False, tried=tried)
        return own is not None or self._fallback(call, now) is not None

    def most_attempts(self, target: Target) -> int:
        """How many attempts a request may have made for `target` to be another one."""
        return self._max_attempts + (MAX_LINKS if target.link else 0)

    def _own(
        self,
        call: Call,
        now: float,
        *,
        even_avoided: bool,
        even_tried: bool = False,
        tried: set[str] | None = None,
    ) -> Target | None:
        self._deal_again(call)
        return self._router.choose(
            call.model,
            call.dealt_to,
            now,
            tried=() if even_tried else (tried or call.tried),
            even_avoided=even_avoided,
            prefix=call.prefix,
            is_pinned=call.is_pinned,
        )

    def _deal_again(self, call: Call) -> None:
        """Move a request on whose revision lost its share since it was dealt."""
        route = self._router.table.models.get(call.model) if self._router.table else None
        serving = route.serving if route else ()
        if serving and not call.is_pinned and all(each.name != call.dealt_to for each in serving):
            call.dealt_to = self._router.assign(call.model, _key(call)) or call.dealt_to

    def _fallback(self, call: Call, now: float, spent: set[str] | None = None) -> Target | None:
        if call.is_pinned:
            return None
        spent = call.spent if spent is None else spent
        return self._router.fall_back(call.model, now, key=_key(call), spent=spent)

    def _rule_out(self, call: Call) -> None:
        """Leave out what could not take this request: its path, as many tokens."""
        table, seen = self._router.table, call.seen
        for link in self._router.fallbacks(call.model).links:
            route = table.models.get(link.model) if table and link.model else None
            too_much = route is not None and (
                refusal(route.caps, max_tokens=seen.max_tokens, num_choices=seen.num_choices)
                or prompt_refusal(route.caps, seen.num_prompt_ids)
            )
            no_path = link.external is not None and not url_of(link.external, call.exchange.path)
            if too_much or no_path:
                call.spent.add(link.name)


def _key(call: Call) -> str:
    """What a request is dealt by from here on: without a user it is a conversation of its own."""
    return call.seen.user or call.exchange.request_id.decode("ascii")
