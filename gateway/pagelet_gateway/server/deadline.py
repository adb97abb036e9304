"""How long a request may take: the model's limit, or less if the client says so."""

from pagelet_gateway.errors import RequestError
from pagelet_gateway.server.exchange import Exchange

HEADER = b"x-request-timeout-ms"


def time_limit_s(exchange: Exchange, most_s: float) -> float:
    """Return the seconds a request has, from its arrival.

    Args:
        exchange: Its header x-request-timeout-ms may ask for less than `most_s`; more is no
            error, and changes nothing.
        most_s: The model's limit.

    Raises:
        RequestError: The header is not a positive number of milliseconds.
    """
    asked = exchange.headers.get(HEADER)
    if asked is None:
        return most_s
    if not asked.isdigit() or len(asked) > 12 or int(asked) == 0:
        raise RequestError(
            f"{HEADER.decode()} must be a whole number of milliseconds above 0.",
            param=HEADER.decode(),
        )
    return min(most_s, int(asked) / 1000)
