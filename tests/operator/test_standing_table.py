import io

from rich.console import Console

from pagelet_operator.api.standing import Standing
from pagelet_operator.standing_table import table


def drawn(*lines):
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(table(lines))
    return console.file.getvalue()


def test_a_model_is_named_once_and_every_figure_has_a_column():
    lines = [
        Standing(model="chat", phase="Progressing", role=role, revision=f"chat-{role}", queue="1.5")
        for role in ("stable", "canary")
    ]
    text = drawn(*lines, Standing(model="other", phase="Stable"))
    assert text.count("Progressing") == 1
    assert text.count("1.5") == 2
    for heading in ("ROLE", "WEIGHT", "P99 TTFT", "P99 ITL", "QUEUE", "VERDICT", "MESSAGE"):
        assert heading in text


def test_a_sentence_with_brackets_is_no_markup():
    assert "[bold]x" in drawn(Standing(model="m", phase="p", verdict="[bold]x", message="[red]"))
