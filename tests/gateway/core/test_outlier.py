from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pagelet_gateway.core.breaker import State
from pagelet_gateway.core.outlier import MIN_SAMPLE, SLOW_BY_S, SLOW_FACTOR, Outliers
from pagelet_gateway.core.route_table import BreakerPolicy

POLICY = BreakerPolicy(consecutive_errors=2, error_rate=100, open_for_s=10.0)
URLS = [f"http://e{i}" for i in range(5)]
FAR = 1e9


def trip(outliers: Outliers, *urls: str, now: float = 0.0) -> None:
    for url in urls:
        outliers.breaker(url).trip(now)


def test_errors_in_a_row_eject_an_endpoint_until_its_time_is_up():
    outliers = Outliers(POLICY, "seed")
    for _ in range(2):
        outliers.breaker(URLS[0]).fail(outliers.enter(URLS[0], 0.0, FAR), 0.0)
    assert outliers.ejected(URLS, 9.9) == {URLS[0]}
    assert outliers.probe_due(URLS, 9.9) == []
    assert outliers.ejected(URLS, 13.0) == set()
    assert outliers.probe_due(URLS, 13.0) == [URLS[0]]


def test_while_it_is_probed_it_stays_ejected_for_the_others():
    outliers = Outliers(POLICY, "seed")
    trip(outliers, URLS[0])
    outliers.enter(URLS[0], 13.0, 20.0)
    assert outliers.ejected(URLS, 14.0) == {URLS[0]}
    assert outliers.probe_due(URLS, 14.0) == []


def test_at_most_the_share_is_ejected_the_latest_first():
    outliers = Outliers(POLICY, "seed")
    for index, url in enumerate(URLS[:4]):
        trip(outliers, url, now=index * 2.5)
    assert outliers.ejected(URLS, 9.0) == set(URLS[2:4])


def test_one_may_always_be_ejected_and_one_always_stays():
    strict = BreakerPolicy(max_ejected_percent=0)
    outliers = Outliers(strict, "seed")
    trip(outliers, URLS[0])
    assert outliers.ejected(URLS[:2], 1.0) == {URLS[0]}
    assert outliers.ejected(URLS[:1], 1.0) == set()
    lax = Outliers(BreakerPolicy(max_ejected_percent=100), "seed")
    trip(lax, *URLS[:4])
    assert lax.ejected(URLS, 1.0) == set(URLS[:4])


def test_when_all_look_broken_none_is_ejected():
    outliers = Outliers(POLICY, "seed")
    trip(outliers, *URLS)
    assert outliers.ejected(URLS, 1.0) == set()


def fill(outliers: Outliers, url: str, after_s: float, count: int = MIN_SAMPLE) -> None:
    for _ in range(count):
        outliers.saw_first_token(url, after_s, 0.0)


def test_first_tokens_far_above_the_siblings_eject():
    outliers = Outliers(POLICY, "seed")
    fill(outliers, URLS[0], 0.5)
    fill(outliers, URLS[1], 0.5 * SLOW_FACTOR + 0.1, MIN_SAMPLE - 1)
    assert outliers.ejected(URLS, 0.0) == set()
    fill(outliers, URLS[1], 0.5 * SLOW_FACTOR + 0.1, 1)
    assert outliers.ejected(URLS, 0.0) == {URLS[1]}


def test_a_little_slower_or_slower_than_next_to_nothing_does_not_eject():
    outliers = Outliers(POLICY, "seed")
    fill(outliers, URLS[0], 1.0)
    fill(outliers, URLS[1], SLOW_FACTOR - 0.1)
    fill(outliers, URLS[2], 0.01)
    assert outliers.ejected(URLS, 0.0) == set()
    tiny = Outliers(POLICY, "seed")
    fill(tiny, URLS[0], 0.01)
    fill(tiny, URLS[1], SLOW_BY_S)
    assert tiny.ejected(URLS, 0.0) == set()


def test_without_siblings_nothing_is_slow():
    outliers = Outliers(POLICY, "seed")
    fill(outliers, URLS[0], 100.0, 3 * MIN_SAMPLE)
    assert outliers.breaker(URLS[0]).state(0.0) is State.CLOSED


def test_late_first_tokens_of_an_ejected_endpoint_do_not_prolong_it():
    outliers = Outliers(POLICY, "seed")
    fill(outliers, URLS[0], 0.1)
    fill(outliers, URLS[1], 9.0)
    left_s = outliers.breaker(URLS[1]).opens_in_s(0.0)
    fill(outliers, URLS[1], 9.0, 2 * MIN_SAMPLE)
    assert outliers.breaker(URLS[1]).opens_in_s(0.0) == left_s


def test_an_endpoint_that_left_and_came_back_starts_anew():
    outliers = Outliers(POLICY, "seed")
    trip(outliers, URLS[0])
    fill(outliers, URLS[0], 9.0)
    outliers.keep_only({URLS[1]})
    assert outliers.ejected(URLS, 0.0) == set()
    fill(outliers, URLS[1], 0.1)
    fill(outliers, URLS[0], 9.0, MIN_SAMPLE - 1)
    assert outliers.ejected(URLS, 0.0) == set()


class Ejection(RuleBasedStateMachine):
    """Any failures on any number of endpoints: the share, the last one and the time hold."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.share = 0
        self.tripped = {}
        self.start(50, 3)

    def start(self, share, count):
        self.share, self.urls = share, URLS[:count]
        policy = BreakerPolicy(consecutive_errors=2, open_for_s=10.0, max_ejected_percent=share)
        self.outliers = Outliers(policy, "seed")
        self.tripped.clear()

    @rule(share=st.integers(0, 100), count=st.integers(1, 5))
    def another(self, share, count):
        self.start(share, count)

    @rule(step=st.floats(0, 15))
    def wait(self, step):
        self.now += step

    @precondition(lambda self: self.urls)
    @rule(index=st.integers(0, 4), good=st.booleans())
    def request(self, index, good):
        url = self.urls[index % len(self.urls)]
        breaker = self.outliers.breaker(url)
        ticket = self.outliers.enter(url, self.now, self.now + 5)
        (breaker.succeed if good else breaker.fail)(ticket, self.now)
        if good:
            self.tripped.pop(url, None)
        elif breaker.state(self.now) is State.OPEN:
            self.tripped.setdefault(url, self.now)
        if not good and ticket.is_probe:
            self.tripped[url] = self.now

    @invariant()
    def share_holds(self):
        ejected = self.outliers.ejected(self.urls, self.now)
        assert ejected <= set(self.urls)
        assert len(ejected) < len(self.urls)
        assert len(ejected) <= max(1, len(self.urls) * self.share / 100)
        fresh = {url for url, at in self.tripped.items() if self.now < at + 10.0}
        assert all(not self.outliers.breaker(url).admits(self.now) for url in fresh)
        if len(fresh) == 1 < len(self.urls):
            assert ejected, "one may always be ejected"


Ejection.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestEjection = Ejection.TestCase


@given(st.lists(st.booleans(), min_size=5, max_size=5), st.integers(0, 100))
def test_who_is_ejected_is_bad(bad, share):
    outliers = Outliers(BreakerPolicy(max_ejected_percent=share), "seed")
    chosen = [url for url, is_bad in zip(URLS, bad, strict=True) if is_bad]
    trip(outliers, *chosen)
    ejected = outliers.ejected(URLS, 1.0)
    assert ejected <= set(chosen)
    if 0 < len(chosen) < len(URLS):
        assert ejected
