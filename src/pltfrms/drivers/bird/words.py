"""Read what BIRD says about its protocols and routes."""

import re
from collections.abc import Iterable, Iterator

from pltfrms.drivers.bird.control_socket import BirdReply
from pltfrms.model.running.machine import BfdState, BgpState

_PROTOCOL = 1002
_DETAILS = 1006
_SINCE = re.compile(r"^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(\.\d+)?|^\d{4}-\d\d-\d\d")
_COUNT = re.compile(r"(\d+) (imported|exported|filtered)")
_BFD = re.compile(
    r"(?P<address>[0-9a-f.:]+)\s+(?P<port>\S+)\s+(?P<state>Up|Down|Init|AdminDown)"
    r"\s+(?P<since>\S.*?)\s+[\d.]+\s+[\d.]+\s*$"
)
"""Address, port, state, since when, interval and timeout, in columns."""
_COUNTED = re.compile(r"(\d+) of \d+ routes .* in table ")


def protocol_states(reply: BirdReply, kind: str) -> tuple[BgpState, ...]:
    """Return the protocols of a kind (`BGP`, `RPKI`) that `show protocols all` tells of.

    The counts are sums over the channels; a channel that is down has none.
    """
    states = (_state(line, details, kind) for line, details in _protocols(reply))
    return tuple(state for state in states if state is not None)


def bfd_states(rows: Iterable[str]) -> frozenset[BfdState]:
    """Return the sessions that `show bfd sessions` tells of; titles are left out.

    Since when is a time, or a date and a time once it was on another day.
    """
    matches = filter(None, map(_BFD.match, rows))
    return frozenset(
        BfdState(found["address"], found["port"], found["state"] == "Up", found["since"])
        for found in matches
    )


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
