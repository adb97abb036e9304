"""A model name belongs to the oldest that names it, whoever was seen first."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.claims import Claims

refs = st.builds(ModelRef, st.sampled_from(["one", "two"]), st.sampled_from("abcd"))
notes = st.tuples(refs, st.none() | st.sampled_from(["m", "n"]), st.sampled_from("123"))


@given(st.lists(notes, max_size=20))
def test_the_name_is_the_oldests_of_its_namespace_and_the_others_are_told(history):
    claims, known = Claims(), {}
    for ref, name, created in history:
        before = dict(known)
        if name is None:
            told = claims.forget(ref)
            known.pop(ref, None)
        else:
            told = claims.note(ref, name, created)
            if before.get(ref, (None,))[0] != name:
                known[ref] = (name, created)
        changed = (
            {before.get(ref, (None,))[0], name} if known.get(ref) != before.get(ref) else set()
        )
        assert set(told) == {
            other
            for other, (theirs, _) in known.items()
            if other != ref and other.namespace == ref.namespace and theirs in changed
        }
    for ref, (name, _) in known.items():
        rivals = [
            (created, other)
            for other, (theirs, created) in known.items()
            if other.namespace == ref.namespace and theirs == name
        ]
        first = min(rivals)[1]
        assert claims.older(ref) == (None if first == ref else first)


def test_nobody_is_older_than_what_is_not_known():
    assert Claims().older(ModelRef("one", "a")) is None
