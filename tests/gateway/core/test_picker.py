from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.affinity import chain
from pagelet_gateway.core.picker import Picker
from pagelet_gateway.core.route_table import Policy

URLS = [f"http://e{i}" for i in range(4)]


def test_the_endpoint_with_the_least_in_flight_is_picked():
    picker = Picker()
    for url in (URLS[0], URLS[0], URLS[1], URLS[2], URLS[2]):
        picker.begin(url)
    assert picker.pick(URLS[:3], now=0.0) == URLS[1]
    picker.end(URLS[0])
    picker.end(URLS[0])
    assert picker.pick(URLS[:3], now=0.0) == URLS[0]


def test_equals_take_turns():
    picker = Picker()
    picked = []
    for _ in range(12):
        url = picker.pick(URLS, now=0.0)
        picker.begin(url)
        picker.end(url)
        picked.append(url)
    assert Counter(picked) == dict.fromkeys(URLS, 3)
    assert picked[:4] == picked[4:8]


def test_an_avoided_endpoint_is_left_alone_for_its_time():
    picker = Picker()
    picker.avoid(URLS[0], now=0.0, for_s=5.0)
    assert picker.pick(URLS[:1], now=4.9) is None
    assert picker.pick(URLS[:1], now=4.9, even_avoided=True) == URLS[0]
    assert picker.pick(URLS[:1], now=5.0) == URLS[0]


def test_an_endpoint_that_goes_on_refusing_is_avoided_for_longer_up_to_a_limit():
    picker, now, spans = Picker(), 0.0, []
    for _ in range(40):
        picker.avoid(URLS[0], now, for_s=1.0)
        picker.avoid(URLS[0], now, for_s=1.0)  # the other requests that failed with it
        span = next(s for s in range(1, 20) if not picker.is_avoided(URLS[0], now + s))
        spans.append(span)
        now += span
    assert spans[:6] == [1, 2, 4, 8, 10, 10]
    assert set(spans[4:]) == {10}


def test_an_answer_is_forgiveness():
    picker = Picker()
    picker.avoid(URLS[0], now=0.0, for_s=1.0)
    picker.forgive(URLS[0])
    assert not picker.is_avoided(URLS[0], now=0.1)
    picker.avoid(URLS[0], now=0.2, for_s=1.0)
    assert not picker.is_avoided(URLS[0], now=1.3)


def test_endpoints_that_left_are_forgotten_once_they_are_idle():
    picker = Picker()
    picker.begin(URLS[0])
    picker.begin(URLS[1])
    picker.end(URLS[1])
    picker.avoid(URLS[1], now=0.0, for_s=9.0)
    picker.keep_only({URLS[2]})
    assert picker.in_flight(URLS[0]) == 1
    assert not picker.is_avoided(URLS[1], now=0.0)
    picker.end(URLS[0])


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60), st.sets(st.integers(0, 3))
)
def test_the_pick_is_never_tried_and_never_busier_than_another(history, tried):
    picker, flying = Picker(), Counter[str]()
    for begins, index in history:
        url = URLS[index]
        if begins:
            picker.begin(url)
            flying[url] += 1
        elif flying[url]:
            picker.end(url)
            flying[url] -= 1
    left = [url for url in URLS if url not in {URLS[i] for i in tried}]
    url = picker.pick(URLS, now=0.0, tried={URLS[i] for i in tried})
    if not left:
        assert url is None
    else:
        assert url in left
        assert flying[url] == min(flying[other] for other in left)


def served(picker, count, **how):
    """Where so many requests go that end at once."""
    urls = []
    for _ in range(count):
        url = picker.pick(URLS, now=0.0, **how)
        picker.begin(url, how.get("prefix", ()))
        picker.end(url)
        urls.append(url)
    return urls


def test_round_robin_heeds_turns_and_no_loads():
    picker = Picker()
    for _ in range(9):
        picker.begin(URLS[0])
    picker.begin(URLS[1])
    turns = served(picker, 8, policy=Policy.ROUND_ROBIN)
    assert turns == [URLS[2], URLS[3], URLS[0], URLS[1]] * 2


def test_what_an_engine_says_of_its_queue_counts():
    picker = Picker()
    for url, waiting in zip(URLS, (4, 3, 0, 9), strict=True):
        picker.loads.report(url, waiting=waiting, running=8, now=0.0)
    assert served(picker, 3) == [URLS[2]] * 3
    assert served(picker, 3, tried={URLS[2]}) == [URLS[1]] * 3


def test_a_prompt_returns_to_the_engine_that_has_its_beginning():
    picker, prefix = Picker(), chain(b"p" * 1024, b"t")
    first = picker.pick(URLS, 0.0, policy=Policy.PREFIX_AWARE, prefix=prefix)
    assert set(served(picker, 9, policy=Policy.PREFIX_AWARE, prefix=prefix)) == {first}
    assert len(set(served(picker, 4, policy=Policy.PREFIX_AWARE))) == 4, "no whole block: by load"


def test_an_avoided_engine_is_left_alone_whatever_its_cache_holds():
    picker, prefix = Picker(), chain(b"p" * 1024, b"t")
    (home,) = served(picker, 1, policy=Policy.PREFIX_AWARE, prefix=prefix)
    picker.avoid(home, now=0.0, for_s=5.0)
    assert home not in served(picker, 9, policy=Policy.PREFIX_AWARE, prefix=prefix)


def test_an_endpoint_that_joins_is_not_flooded():
    picker = Picker()
    served(picker, 4)
    more, taken = [*URLS, "http://new"], Counter()
    for _ in range(500):
        url = picker.pick(more, now=0.0)
        picker.begin(url)  # none of them ends: by load alone the newcomer would get all
        taken[url] += 1
    assert taken["http://new"] == 10
    assert picker.pick(["http://new"], now=0.0) == "http://new", "better than nothing"
