from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.liveness import Liveness

URLS = st.sampled_from(["http://1", "http://2", "http://3"])


@given(st.lists(st.tuples(URLS, st.integers(0, 9)), max_size=40), URLS, st.integers(-1, 60))
def test_it_knows_who_sent_anything_after_any_moment(history, url, at):
    liveness, now, heard = Liveness(), 0, []
    for each, pause in history:
        now += pause
        liveness.hear(each, now)
        heard.append((each, now))
    expected = any(each == url and then > at for each, then in heard)
    assert liveness.was_heard_since(url, at) is expected


def test_who_was_never_heard_stands_still():
    assert not Liveness().was_heard_since("http://1", 0.0)


def test_what_left_the_table_is_forgotten():
    liveness = Liveness()
    liveness.hear("http://1", 5.0)
    liveness.hear("http://2", 5.0)
    liveness.keep_only({"http://2"})
    assert not liveness.was_heard_since("http://1", 0.0)
    assert liveness.was_heard_since("http://2", 0.0)
