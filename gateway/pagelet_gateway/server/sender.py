"""Writes one attempt's request: to an engine, to a fallback's engine, or to an API elsewhere."""

import aiohttp

from pagelet_gateway.core.caps import output_limit
from pagelet_gateway.core.fallback import Link
from pagelet_gateway.core.retry import Failure
from pagelet_gateway.core.route_table import Fallback
from pagelet_gateway.core.router import Router, Target
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.elsewhere import headers_for, url_of, with_model
from pagelet_gateway.server.headers import to_engine, trusted
from pagelet_gateway.server.upstream import Answer, AttemptError, attempt

_OUR_FAULT = frozenset({401, 402, 403, 404, 408, 409})
"""What an API elsewhere answers when the table names it wrongly; not the client's to mend."""


class Sender:
    """Sends attempts over one client session."""

    def __init__(self, router: Router, session: aiohttp.ClientSession) -> None:
        self._router = router
        self._session = session

    async def send(self, call: Call, target: Target) -> Answer:
        """Send a call to `target` and wait for the first part of the answer.

        Raises:
            AttemptError: There is none that could be used.
        """
        if target.link is not None and target.link.external is not None:
            return await self._send_elsewhere(call, target.link.external)
        exchange = call.exchange
        table = self._router.table
        route = table.models.get(target.model) if table else None
        headers = to_engine(
            exchange.headers,
            request_id=exchange.request_id,
            deadline_ms=_remaining_ms(call),
        ) | trusted(call.caller, route or call.caller.route)
        url = target.url + exchange.path
        body = _body(call, target.link)
        return await attempt(self._session, url, body=body, headers=headers)

    async def _send_elsewhere(self, call: Call, api: Fallback) -> Answer:
        exchange = call.exchange
        url = url_of(api, exchange.path)
        assert url is not None, "the itinerary leaves out what has no such path"
        limit = output_limit(
            call.caller.route.caps,
            max_tokens=call.seen.max_tokens,
            num_choices=call.seen.num_choices,
        )
        body = with_model(
            call.body,
            api.url_model or "",
            output_limit=limit,
            is_chat=exchange.path.endswith("/chat/completions"),
        )
        headers = headers_for(api, exchange.headers, num_hops=call.num_hops + 1)
        answer = await attempt(self._session, url, body=body, headers=headers)
        status = answer.response.status
        if status == 429 or status in _OUR_FAULT:
            failure = Failure.BUSY if status == 429 else Failure.ERROR
            raise AttemptError(failure, f"the API elsewhere answered {status}", answer)
        return answer


def _body(call: Call, link: Link | None) -> bytes:
    if link is None or link.model is None:
        return call.body
    return with_model(call.body, link.model)


def _remaining_ms(call: Call) -> int:
    return max(1, int(call.remaining_s() * 1000))
