"""Read what BIRD says about its protocols and routes."""

import re
from collections.abc import Iterable, Iterator

from pltfrms.drivers.bird.control_socket import BirdReply
from pltfrms.model.running.machine import BfdState, BgpState

_PROTOCOL = 1002
_DETAILS = 1006
_SINCE = re.compile(r"^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(\.\d+)?|^\d{4}-\d\d-\d\d")
_COUNT = re.compile(r"(\d+) (imported|exported|filtered)")
_COUNTED = re.compile(r"(\d+) of \d+ routes .* in table ")


def protocol_states(reply: BirdReply, kind: str) -> tuple[BgpState, ...]:
    """Return the protocols of a kind (`BGP`, `RPKI`) that `show protocols all` tells of.

    The counts are sums over the channels; a channel that is down has none.
    """
    states = (_state(line, details, kind) for line, details in _protocols(reply))
    return tuple(state for state in states if state is not None)


def bfd_states(rows: Iterable[str]) -> frozenset[BfdState]:
    """Return the sessions of a list whose columns are address, port, state, since and timers.

    Since when is a time, or a date and a time once it was on another day.
    """
    found = set()
    for row in rows:
        address, interface, state, *rest = row.split()
        since = " ".join(rest[:-2])
        found.add(BfdState(address, interface, up=state == "Up", since=since))
    return frozenset(found)


def routes_counted(reply: BirdReply) -> int:
    """Return how many routes a `show route ... count` has found, in all tables together.

    0 also where BIRD knows no such protocol (any more).
    """
    return sum(int(found[1]) for _, text in reply.lines if (found := _COUNTED.match(text)))


def _protocols(reply: BirdReply) -> Iterator[tuple[str, list[str]]]:
    line, details = "", list[str]()
    for code, text in reply.lines:
        if code == _PROTOCOL:
            if line:
                yield line, details
            line, details = text, []
        elif code == _DETAILS:
            details.append(text)
    if line:
        yield line, details


def _state(line: str, details: list[str], kind: str) -> BgpState | None:
    """Read the words name, protocol, table, state, since, and detail."""
    words = line.split(None, 4)
    if len(words) < 5 or words[1] != kind:  # noqa: PLR2004 (columns)
        return None
    detail = " ".join(_SINCE.sub("", words[4]).split())
    counts = {"imported": 0, "exported": 0, "filtered": 0}
    for text in details:
        if text.strip().startswith("Routes:"):
            for number, what in _COUNT.findall(text):
                counts[what] += int(number)
    return BgpState(
        name=words[0],
        up=words[3] == "up" and detail.startswith("Established"),
        detail=detail,
        **counts,
    )
