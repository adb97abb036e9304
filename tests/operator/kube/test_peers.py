"""Who falls back to whom: an index that forgets nothing and keeps nothing."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.peers import Dependents

names = st.sampled_from("abcd")


@given(st.lists(st.tuples(names, st.none() | st.sets(names)), max_size=20))
def test_the_index_says_what_the_last_notes_say(notes):
    dependents, latest = Dependents(), {}
    for source, targets in notes:
        if targets is None:
            dependents.forget(ModelRef("ns", source))
            latest.pop(source, None)
        else:
            dependents.note(ModelRef("ns", source), targets)
            latest[source] = targets
    for target in "abcd":
        expected = sorted(source for source, targets in latest.items() if target in targets)
        assert [ref.name for ref in dependents.of(ModelRef("ns", target))] == expected
        assert dependents.of(ModelRef("other", target)) == ()
