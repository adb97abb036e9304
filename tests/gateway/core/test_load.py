from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.load import MAX_AGE_S, WAITING_COST, LoadBook

A, B = "http://a", "http://b"


def book(**reports: tuple[int, int]) -> LoadBook:
    made = LoadBook()
    for name, (waiting, running) in reports.items():
        made.report(f"http://{name}", waiting=waiting, running=running, now=0.0)
    return made


def test_requests_of_other_gateways_count():
    assert book(a=(0, 7), b=(0, 2)).loads([A, B], now=1.0) == {A: 7, B: 2}


def test_a_waiting_request_weighs_more_than_a_running_one():
    loads = book(a=(5, 5), b=(0, 20)).loads([A, B], now=0.0)
    assert loads == {A: 5 + 5 * WAITING_COST, B: 20}


def test_what_was_in_flight_when_the_engine_was_asked_counts_once():
    loads = LoadBook()
    for _ in range(3):
        loads.begin(A)
    loads.report(A, waiting=0, running=3, now=0.0)
    assert loads.loads([A], now=0.0) == {A: 3}
    loads.begin(A)
    assert loads.loads([A], now=0.0) == {A: 4}
    loads.end(A)
    loads.end(A)
    assert loads.loads([A], now=0.0) == {A: 2}


def test_requests_that_an_engine_does_not_know_of_yet_count():
    loads = LoadBook()
    for _ in range(3):
        loads.begin(A)
    loads.report(A, waiting=0, running=0, now=0.0)
    assert loads.loads([A], now=0.0) == {A: 3}
    loads.end(A)
    assert loads.loads([A], now=0.0) == {A: 2}


def test_old_reports_are_not_believed_and_nothing_is_compared_with_a_silent_engine():
    loads = book(a=(0, 50))
    loads.begin(B)
    assert loads.loads([A, B], now=0.0) == {A: 0, B: 1}, "B has said nothing"
    loads.report(B, waiting=0, running=1, now=0.0)
    assert loads.loads([A, B], now=MAX_AGE_S) == {A: 50, B: 1}
    assert loads.loads([A, B], now=MAX_AGE_S + 0.1) == {A: 0, B: 1}


def test_endpoints_that_left_are_forgotten_once_idle():
    loads = book(a=(0, 9))
    loads.begin(A)
    loads.keep_only({B})
    assert loads.loads([A], now=0.0) == {A: 1}
    loads.end(A)
    loads.keep_only({B})
    assert loads == LoadBook()


@given(st.lists(st.sampled_from(["begin", "end", "report"]), max_size=60), st.integers(0, 9))
def test_the_load_is_never_below_the_own_count_nor_off_by_what_others_did_not_send(moves, others):
    loads, own = LoadBook(), 0
    loads.report(A, waiting=0, running=others, now=0.0)
    for move in moves:
        if move == "begin":
            loads.begin(A)
            own += 1
        elif move == "end" and own:
            loads.end(A)
            own -= 1
        elif move == "report":
            loads.report(A, waiting=0, running=own + others, now=0.0)
        assert loads.in_flight(A) == own
        assert loads.loads([A], now=0.0) == {A: own + others}


def test_what_waits_in_engines_is_the_sum_of_fresh_reports():
    loads = book(a=(5, 7), b=(2, 1))
    assert loads.waiting([A, B, "http://silent"], now=1.0) == 7
    assert loads.waiting(["http://silent"], now=1.0) is None
    assert loads.waiting([A, B], now=MAX_AGE_S + 1) is None
