"""What of a model's output is shown as text beside its calls."""

from pagelet_engine.text.tools.parts import Part


class ShownText:
    """Passes text on, but for blanks behind a call: notation if nothing else follows them."""

    def __init__(self) -> None:
        """Show everything until the first call."""
        self._blanks: str | None = None

    @property
    def is_behind_call(self) -> bool:
        """Whether nothing but blanks has come since the last call."""
        return self._blanks is not None

    def begin_call(self) -> None:
        """Hold back the blanks that come behind a call."""
        self._blanks = ""

    def show(self, text: str, parts: list[Part]) -> None:
        """Append what can be shown of `text` and the blanks held before it."""
        if self._blanks is not None:
            text = self._blanks + text
            if not text.strip():
                self._blanks = text
                return
            self._blanks = None
        if text:
            parts.append(text)
