"""What is taken in one lane is taken from no other."""

from contextlib import ExitStack

import pytest

from pltfrms.api.bounds.callers import Caller, CallerKind
from pltfrms.api.bounds.shares import (
    BODIES_BYTES_ALL,
    BODIES_BYTES_EACH,
    BODY_BYTES_MAX,
    Lane,
    Shares,
)
from pltfrms.errors import UnavailableError


def stranger(number: int) -> Caller:
    return Caller(CallerKind.STRANGER, f"2001:db8:{number:x}::/64")


def test_what_instances_send_slowly_keeps_nobody_else_from_sending() -> None:
    """A question takes room from its first byte on: as long as a question may take to come."""
    shares, size = Shares(lambda: 0.0), BODY_BYTES_MAX[Lane.PART]
    with ExitStack() as slow:
        for number in range(BODIES_BYTES_ALL // BODIES_BYTES_EACH):
            for _ in range(BODIES_BYTES_EACH // size):
                slow.enter_context(shares.arriving(stranger(number), Lane.PART, size))
        with pytest.raises(UnavailableError), shares.arriving(stranger(99), Lane.PART, 1):
            pass
        with shares.arriving(stranger(99), Lane.OTHER, BODY_BYTES_MAX[Lane.OTHER]):
            pass
    with shares.arriving(stranger(99), Lane.PART, size):
        pass
