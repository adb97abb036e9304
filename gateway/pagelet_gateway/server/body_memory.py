"""What all request bodies together may take: a cap on each alone leaves thousands of them.

Counted as bytes arrive, so announcing much and sending little reserves nothing, and held until
the request ends, since another attempt needs the body.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class BodyMemory:
    """Belongs to one event loop.

    Attributes:
        num_held: Bytes of all bodies that are here.
    """

    def __init__(self, most: int) -> None:
        """Make an empty one.

        Args:
            most: Bytes of all bodies together.
        """
        self.num_held = 0
        self._most = most

    @contextmanager
    def request(self) -> Iterator[Callable[[int], bool]]:
        """Account for one request.

        Yields:
            What takes the size of each part; False when there is no room for it.
        """
        own = 0

        def take(num_bytes: int) -> bool:
            nonlocal own
            if self.num_held + num_bytes > self._most:
                return False
            own += num_bytes
            self.num_held += num_bytes
            return True

        try:
            yield take
        finally:
            self.num_held -= own
