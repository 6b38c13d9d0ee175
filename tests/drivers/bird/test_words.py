"""What BIRD says of its BFD sessions, read."""

from pltfrms.drivers.bird.words import bfd_states
from pltfrms.model.running.machine import BfdState

ROWS = (
    "bfd.all:",
    "IP address                Interface  State      Since         Interval  Timeout",
    "fe80::1:a:2               fab-a      Up         2026-11-29 12:35:29.680    0.100    0.300",
    "203.0.113.2               ext-x      Down       12:35:29.680   1.000    0.000",
    "192.0.2.7                 ---        Init       2026-11-29    1.000    0.000",
)


def test_sessions_of_bfd_are_read_in_any_format_of_time() -> None:
    assert bfd_states(ROWS) == {
        BfdState("fe80::1:a:2", "fab-a", up=True, since="2026-11-29 12:35:29.680"),
        BfdState("203.0.113.2", "ext-x", up=False, since="12:35:29.680"),
        BfdState("192.0.2.7", "---", up=False, since="2026-11-29"),
    }
