from pagelet_gateway.core.quota import Refused, Scope
from pagelet_gateway.core.route_table import Quota
from pagelet_gateway.server.quotas import LocalQuotas


async def test_replicas_share_a_quota_evenly_and_a_change_counts_at_once():
    num_replicas = 3
    quotas = LocalQuotas(lambda: num_replicas)
    scope = Scope(("model", "m"), Quota(requests_per_minute=30))

    async def admitted() -> int:
        answers = [await quotas.admit([scope], 1, 60.0) for _ in range(40)]
        return sum(not isinstance(answer, Refused) for answer in answers)

    assert await admitted() == 10
    num_replicas = 2
    assert await admitted() == 5
    quotas.keep_only([])
    assert await admitted() == 0  # what is in flight is not forgotten


async def test_settling_twice_is_settling_once():
    quotas = LocalQuotas(lambda: 1)
    scope = Scope(("model", "m"), Quota(max_concurrent_requests=1, tokens_per_minute=10))
    for _ in range(3):
        grant = await quotas.admit([scope], 10, 60.0)
        assert not isinstance(grant, Refused)
        assert isinstance(await quotas.admit([scope], 10, 60.0), Refused)
        for _ in range(2):
            quotas.settle(grant, 0)
