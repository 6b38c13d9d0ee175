"""Tables of IPv6 routes, read as a whole.

The kernel answers in parts, and finds its place again by counting: what is deleted between two
parts makes it leave out routes that stay, and it says nothing (there is no NLM_F_DUMP_INTR;
Linux 6.18 left out half of 700 routes). So we listen while we read.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from pltfrms.drivers.kernel.tables.hints import IPV6_ROUTES_GROUP, Hints

_T = TypeVar("_T")
ATTEMPTS: Final = 16
"""Each may leave out the same half again, so few are not enough."""
_BUFFER_BYTES: Final = 4096
"""One message says enough; that others were lost says the same."""


async def read_whole(table: int, ask: Callable[[], Awaitable[Sequence[_T]]]) -> Sequence[_T]:
    """Return what `ask` answers about a table (1..254) while that stays the same.

    Of a table that never does, return all that was seen: it lacks nothing that stays. What has
    just gone may be in it, and whoever listens to the table looks again anyway.
    """
    seen: dict[_T, None] = {}
    hints = Hints(IPV6_ROUTES_GROUP, table, _BUFFER_BYTES)
    try:
        for _ in range(ATTEMPTS):
            answer = await ask()
            if not hints.heard():
                return answer
            seen |= dict.fromkeys(answer)
    finally:
        hints.close()
    return tuple(seen)
