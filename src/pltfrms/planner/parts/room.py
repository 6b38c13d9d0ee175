"""How much of the store the part of a service may take. Pure.

What a part takes is known only as far as one controller has looked, and others write, too: it
may come to a little more than this. What matters is that it cannot go on.
"""

from collections.abc import Iterable, Mapping
from typing import Final

KEYS_MAX: Final = 256
BYTES_MAX: Final = 1024 * 1024
"""Of keys and values together."""
LEASES_MAX: Final = 32
LEASE_SECONDS_MIN: Final = 5
LEASE_SECONDS_MAX: Final = 300
WATCHES_MAX: Final = 32
CHANGES_PER_SECOND: Final = 100
CHANGES_OF_ALL_PER_SECOND: Final = 500
"""Of all parts together: a small share of what the store takes."""
BYTES_PER_SECOND: Final = 256 * 1024
BYTES_OF_ALL_PER_SECOND: Final = 1024 * 1024
"""What is written stays in the history of the store for ten minutes: a third of its quota."""
ANSWERS_BYTES_PER_SECOND: Final = 1024 * 1024
ANSWERS_BYTES_AT_ONCE: Final = 16 * 1024 * 1024
"""Of what one gate is asked by a part, and answers, after a rest: whoever else asks there waits
while that is read and made, and an answer is in memory until it is taken."""
ANSWER_BYTES_MIN: Final = 4096
"""As so large the smallest one is counted."""


def with_puts(
    known: Mapping[bytes, int], puts: Iterable[tuple[bytes, int]]
) -> dict[bytes, int]:
    """Return the sizes of a part's keys with what may be written; of a key twice the larger."""
    after = dict(known)
    written: dict[bytes, int] = {}
    for key, size in puts:
        written[key] = max(size, written.get(key, 0))
    return after | written


def size_of(answer: object) -> int:
    """Return about how long an answer is as JSON."""
    if isinstance(answer, str):
        return len(answer)
    if isinstance(answer, Mapping):
        return sum(map(size_of, answer.values()))
    return sum(map(size_of, answer)) if isinstance(answer, list) else 0


def why_no_room(known: Mapping[bytes, int], puts: Iterable[tuple[bytes, int]]) -> str:
    """Return why a part has no room for what is to be written; empty: it has.

    A key that takes no more than before can be written in any case.
    """
    after = with_puts(known, puts)
    count, size = len(after), sum(after.values())
    if count > max(KEYS_MAX, len(known)):
        return f"a part has at most {KEYS_MAX} keys"
    if size > max(BYTES_MAX, sum(known.values())):
        return f"the keys of a part have at most {BYTES_MAX} bytes together"
    return ""


def why_no_lease(ttl_seconds: int, there: int) -> str:
    """Return why a part gets no lease beside those that are there; empty: it does."""
    if not LEASE_SECONDS_MIN <= ttl_seconds <= LEASE_SECONDS_MAX:
        return f"a lease lives for {LEASE_SECONDS_MIN} to {LEASE_SECONDS_MAX} seconds"
    if there >= LEASES_MAX:
        return f"a part has at most {LEASES_MAX} leases"
    return ""
