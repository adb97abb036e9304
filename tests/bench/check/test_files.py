"""Keys are read and never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.check.files import command_line, read_key
from pagelet_bench.core.errors import UsageError

words = st.sampled_from(["--model", "x", "--timeout", "http://h"])
options = st.sampled_from(["--api-key", "--against-api-key"])


@given(before=st.lists(words), option=options, joined=st.booleans(), after=st.lists(words))
def test_a_key_on_the_command_line_is_never_shown(before, option, joined, after):
    given_as = [f"{option}=S3CRET"] if joined else [option, "S3CRET"]
    shown = command_line(["/bin/pagelet", "check", *before, *given_as, *after])
    assert "S3CRET" not in shown
    assert option in shown
    assert shown.startswith("pagelet check")


def test_a_key_file_gives_its_first_line(tmp_path):
    (tmp_path / "key").write_text("abc \nother\n")
    assert read_key(None, tmp_path / "key") == "abc"


@pytest.mark.parametrize("content", ["", "\n", "ключ"])
def test_a_key_that_cannot_be_sent_is_refused(tmp_path, content):
    (tmp_path / "key").write_text(content)
    with pytest.raises(UsageError):
        read_key(None, tmp_path / "key")
