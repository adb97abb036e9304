import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pagelet_gateway.core.quota import Ledger, Limit, Refused, Scope, Ticket, share
from pagelet_gateway.core.route_table import Quota

NOW = 1000.0


def scope(name="m", concurrent=None, requests=None, tokens=None):
    quota = Quota(
        max_concurrent_requests=concurrent, requests_per_minute=requests, tokens_per_minute=tokens
    )
    return Scope(("model", name), quota)


@pytest.mark.parametrize(
    ("limits", "limit", "retry_after_s"),
    [
        ({"concurrent": 2}, Limit.CONCURRENT, 1.0),
        ({"requests": 2}, Limit.REQUESTS, 61.0),
        ({"tokens": 20}, Limit.TOKENS, 61.0),
    ],
)
def test_the_third_of_two_is_refused_by_its_limit(limits, limit, retry_after_s):
    ledger = Ledger()
    given_out = [ledger.admit(NOW, [scope(**limits)], 10) for _ in range(3)]
    assert [type(each) for each in given_out] == [Ticket, Ticket, Refused]
    assert (given_out[2].limit, given_out[2].retry_after_s) == (limit, retry_after_s)
    assert given_out[2].allowed == next(iter(limits.values()))


def test_a_refusal_charges_nothing_anywhere():
    ledger, wide, narrow = Ledger(), scope("wide", requests=2), scope("narrow", requests=1)
    assert isinstance(ledger.admit(NOW, [wide, narrow], 5), Ticket)
    for _ in range(5):
        assert isinstance(ledger.admit(NOW, [wide, narrow], 5), Refused)
    assert isinstance(ledger.admit(NOW, [wide], 5), Ticket)


def test_what_was_estimated_too_high_is_free_at_once_and_too_low_is_charged():
    ledger, mine = Ledger(), scope(tokens=100)
    ticket = ledger.admit(NOW, [mine], 100)
    assert isinstance(ledger.admit(NOW, [mine], 1), Refused)
    ledger.settle(NOW + 5, ticket, 40)
    assert isinstance(ledger.admit(NOW + 5, [mine], 61), Refused)
    second = ledger.admit(NOW + 5, [mine], 60)
    ledger.settle(NOW + 50, second, 90)
    refused = ledger.admit(NOW + 50, [mine], 1)
    assert isinstance(refused, Refused)
    assert refused.retry_after_s == 11.0  # the first 40 count until second 61


def test_an_estimate_above_the_limit_waits_for_an_empty_minute_only():
    ledger, mine = Ledger(), scope(tokens=100)
    ticket = ledger.admit(NOW, [mine], 5000)
    assert isinstance(ticket, Ticket)
    assert isinstance(ledger.admit(NOW, [mine], 5000), Refused)
    ledger.settle(NOW, ticket, 0)
    assert isinstance(ledger.admit(NOW, [mine], 5000), Ticket)


def test_what_uses_no_tokens_asks_for_none():
    ledger, mine = Ledger(), scope(tokens=10)
    ledger.settle(NOW, ledger.admit(NOW, [mine], 10), 500)
    assert isinstance(ledger.admit(NOW, [mine], 0), Ticket)
    assert isinstance(ledger.admit(NOW, [mine], 1), Refused)


def test_standings_tell_of_the_first_scope_for_all_replicas_together():
    ledger, mine, other = Ledger(), scope("a", requests=30, tokens=300), scope("b", requests=9)
    seen = ledger.admit(NOW, [mine, other], 10, shares=3).standings
    assert (seen.requests.limit, seen.requests.remaining, seen.requests.reset_s) == (30, 27, 61.0)
    assert (seen.tokens.limit, seen.tokens.remaining) == (300, 270)


@given(st.integers(1, 10_000), st.integers(1, 50))
@example(1, 3)
def test_shares_sum_to_the_limit_unless_there_are_more_replicas_than_places(limit, shares):
    each = share(limit, shares)
    assert each >= 1
    assert limit - shares < each * shares <= max(limit, shares)


def test_a_scope_that_left_is_forgotten_once_it_is_idle():
    ledger, mine = Ledger(), scope(requests=1)
    ticket = ledger.admit(NOW, [mine], 1)
    ledger.keep_only(NOW + 100, [])
    assert ledger.in_flight(mine.key) == 1
    ledger.settle(NOW + 100, ticket, 2)
    for now, is_known in ((NOW + 100, True), (NOW + 160, True), (NOW + 161, False)):
        ledger.keep_only(now, [])
        assert (mine.key in ledger._accounts) == is_known
    ledger.admit(NOW, [mine], 1)
    ledger.keep_only(NOW + 200, [mine.key])
    assert mine.key in ledger._accounts


class Ledgers(RuleBasedStateMachine):
    """Any order of admissions and ends, against a plain list of what was done."""

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.ledger = Ledger()
        self.limits = {"a": (3, 8, 100), "b": (2, 5, 60), "c": (None, 6, None)}
        self.open = []
        self.admitted = []  # [time, names, tokens still charged then]
        self.late = []  # [time, names, tokens charged at the end]

    @rule(gap=st.floats(0, 40) | st.floats(0, 2))
    def wait(self, gap):
        self.now += gap

    @rule(names=st.sets(st.sampled_from("abc"), min_size=1), tokens=st.integers(0, 90))
    def ask(self, names, tokens):
        names = sorted(names)
        scopes = [scope(name, *self.limits[name]) for name in names]
        answer = self.ledger.admit(self.now, scopes, tokens)
        if isinstance(answer, Ticket):
            entry = [self.now, names, tokens]
            self.open.append((answer, entry))
            self.admitted.append(entry)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), tokens=st.integers(0, 150))
    def end(self, data, tokens):
        ticket, entry = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.ledger.settle(self.now, ticket, tokens)
        self.ledger.settle(self.now, ticket, 10_000)  # again does nothing
        if tokens > entry[2]:
            self.late.append([self.now, entry[1], tokens - entry[2]])
        entry[2] = min(entry[2], tokens)

    @invariant()
    def in_flight_is_what_is_open(self):
        for name, (most, _, _) in self.limits.items():
            count = sum(name in entry[1] for _, entry in self.open)
            assert self.ledger.in_flight(("model", name)) == count
            assert most is None or count <= most

    @invariant()
    def no_minute_has_more_requests_than_allowed(self):
        for name, (_, most, _) in self.limits.items():
            recent = [at for at, names, _ in self.admitted if name in names and at > self.now - 60]
            assert len(recent) <= most

    @invariant()
    def what_is_charged_is_what_was_used(self):
        for name in self.limits:
            account = self.ledger._accounts.get(("model", name))
            if account is None:
                continue
            account.tokens.window.advance(self.now)
            oldest = int(self.now) - 60
            charged = sum(
                tokens
                for at, names, tokens in self.admitted + self.late
                if name in names and int(at) >= oldest
            )
            assert account.tokens.window.used == charged


TestLedgers = Ledgers.TestCase
