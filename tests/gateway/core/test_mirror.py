from hypothesis import given
from hypothesis import strategies as st

from gateway_process import model, table
from pagelet_gateway.core.mirror import MAX_COPIES, MirrorDealer, mirrored_to
from pagelet_gateway.core.table_parser import parse


def route(percent=50, **revisions):
    made = revisions or {"s": (100, ["http://s"]), "c": (0, ["http://c"])}
    raw = model("m", made, routing={"mirrorPercent": percent})
    return parse(table(raw)).models["m"]


def test_stables_requests_go_to_a_canary_that_runs_share_or_not():
    assert mirrored_to(route(), "s").name == "c"
    assert mirrored_to(route(), "c") is None, "the canary's own are no one's business"
    assert mirrored_to(route(), "gone") is None
    assert mirrored_to(route(percent=0), "s") is None
    assert mirrored_to(route(s=(100, ["http://s"]), c=(0, [])), "s") is None
    assert mirrored_to(route(s=(100, ["http://s"])), "s") is None


@given(st.integers(0, 100), st.integers(1, 300))
def test_copies_are_never_one_away_from_their_share(percent, count):
    dealer, copied = MirrorDealer(), 0
    for total in range(1, count + 1):
        copied += dealer.deal(percent)
        assert abs(total * percent / 100 - copied) < 1


@given(st.lists(st.booleans(), max_size=80))
def test_copies_in_flight_are_bounded(moves):
    dealer, flying = MirrorDealer(), 0
    for begins in moves:
        if begins:
            assert dealer.begin() == (flying < MAX_COPIES)
            flying = min(MAX_COPIES, flying + 1)
        elif flying:
            dealer.end()
            flying -= 1
