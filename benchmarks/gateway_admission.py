"""What letting one request in costs the gateway: peek, key, caps, three quotas, settlement.

    python benchmarks/gateway_admission.py

Best of 7 rounds, microseconds per request, one process, no socket. The table has 20 models of 50
tenants each; every request's minute already holds 60 used seconds.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from pagelet_gateway.core.quota import Account, Ticket
from pagelet_gateway.core.table_parser import parse
from pagelet_gateway.server.admission import Admission
from pagelet_gateway.server.call import Call
from pagelet_gateway.server.exchange import Exchange
from pagelet_gateway.server.headers import trusted
from pagelet_gateway.server.peek import opening, peek
from pagelet_gateway.server.quotas import LocalQuotas
from pagelet_gateway.server.tenancy import Gatekeeper
from pagelet_gateway.tenant_metrics import TenantMetrics

KEY = b"key-of-tenant-7-of-model-3"
LIMITS = {
    "maxConcurrentRequests": 10**6,
    "requestsPerMinute": 10**9,
    "tokensPerMinute": 2**31 - 1,
    "maxOutputTokens": 4096,
}
NUM_CALLS = 300


def table():
    def tenant(number: int, model: int) -> dict:
        key = f"key-of-tenant-{number}-of-model-{model}".encode()
        quota = {name: LIMITS[name] for name in list(LIMITS)[:3]}
        return {
            "name": f"t{number}",
            "keys": [{"sha256": hashlib.sha256(key).hexdigest()}],
            **quota,
        }

    models = [
        {
            "name": f"m{model}",
            "resource": f"ns/m{model}",
            "generation": 1,
            "limits": LIMITS,
            "tenants": [tenant(number, model) for number in range(50)],
            "revisions": [{"name": "r", "role": "stable", "weight": 100, "endpoints": []}],
        }
        for model in range(20)
    ]
    return parse({"schemaVersion": 1, "models": models})


def body(size: int) -> bytes:
    turn = {"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 4}
    turns = [turn] * max(1, size // len(json.dumps(turn)))
    return json.dumps({"model": "m3", "stream": True, "messages": turns}).encode()


def best_us(work: Callable[[], object]) -> float:
    rounds = []
    for _ in range(7):
        begun_at = time.perf_counter()
        for _ in range(NUM_CALLS):
            work()
        rounds.append((time.perf_counter() - begun_at) / NUM_CALLS)
    return min(rounds) * 1e6


async def main() -> None:
    obeyed = table()
    gatekeeper = Gatekeeper(require_keys=False)
    quotas = LocalQuotas(lambda: 1)
    admission = Admission(quotas, TenantMetrics(CollectorRegistry()))
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
    scope["headers"] = [(b"authorization", b"Bearer " + KEY)]
    exchange = Exchange(scope, None, None, closes=False)

    def step(work):
        try:
            work.send(None)
        except StopIteration:
            return

    for size in (1_000, 200_000):
        sent = body(size)
        seen = peek(sent)
        for account in quotas._ledger._accounts.values():
            _age(account)

        def let_in(sent=sent):
            seen = peek(sent)
            caller = gatekeeper.caller(obeyed, exchange.headers, seen.model)
            admission.check(caller, seen)
            now = time.monotonic()
            call = Call(
                exchange=exchange, caller=caller, seen=seen, model="m3", revision="r",
                body=sent, started_at=now, deadline=now + 600,
            )  # fmt: skip
            step(admission.admit(call, obeyed))
            assert isinstance(call.grant, Ticket)
            trusted(caller, caller.route)
            admission.settle(call)

        print(f"body of {len(sent)} bytes, us per request:")
        print(f"  peek                 {best_us(lambda sent=sent: peek(sent)):8.1f}")
        print(f"  opening, if sticky   {best_us(lambda seen=seen: opening(seen.prompt)):8.1f}")
        print(f"  json.loads, for size {best_us(lambda sent=sent: json.loads(sent)):8.1f}")
        print(f"  all of letting in    {best_us(let_in):8.1f}")


def _age(account: Account) -> None:
    now = time.monotonic()
    for window in (account.requests, account.tokens):
        for ago in range(59, 0, -1):
            window.add(now - ago, 1)


if __name__ == "__main__":
    asyncio.run(main())
