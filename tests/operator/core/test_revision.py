from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.revision import HASH_LENGTH, revision_name

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
templates = st.dictionaries(st.text(max_size=6), json_values, max_size=5)


def shuffled(value, order):
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: order(key))
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(templates)
def test_key_order_makes_no_revision(template):
    backwards = shuffled(template, lambda key: [-ord(char) for char in key])
    assert revision_name("chat", backwards) == revision_name("chat", template)


@given(templates, templates)
def test_different_templates_are_different_revisions(one, other):
    # `==` would call 1 and True the same; JSON does not.
    if repr(shuffled(one, str)) != repr(shuffled(other, str)):
        assert revision_name("chat", one) != revision_name("chat", other)


def test_the_name_is_the_models_name_and_a_short_hash():
    name = revision_name("chat", {"model": {"source": "dummy://tiny"}})
    assert name.startswith("chat-")
    assert len(name) == len("chat-") + HASH_LENGTH
    assert name == "chat-" + name[5:].lower()


def test_the_hash_of_a_given_template_never_changes_between_versions():
    """A different hash for the same spec would restart every replica of every user."""
    assert revision_name("chat", {"model": {"source": "dummy://tiny"}}) == "chat-4b16fde45c"
