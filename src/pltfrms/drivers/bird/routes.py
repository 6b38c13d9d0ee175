"""Read what BIRD answers to `show route all`: text in, words of the model out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network

from pltfrms.model.messages.glass import RouteView
from pltfrms.model.network.peering import Reject

_ROUTE = 1007
"""Code of the lines about prefixes, paths and nexthops; those about attributes have others."""
_TABLE = re.compile(r"Table \S+:")
_PATH = re.compile(
    r"(?P<prefix>\S*)\s+(?P<leads>[a-z]+) "
    r"\[(?P<session>\S+) (?P<since>[^\]]*?)(?: from \S+)?\](?P<best> \*)?.*"
)
_NEXTHOP = re.compile(r"\t(via (?P<via>\S+) on|dev) (?P<device>\S+)(?P<more>.*)")
_WEIGHT = re.compile(r" weight \d+")
_ATTRIBUTE = re.compile(r"\tBGP\.(?P<name>\w+): ?(?P<value>.*)")
_HOP = re.compile(r"\{[^}]*\}|\S+")
_COMMUNITY = re.compile(r"\(([^)]*)\)")
_NUMBER_DIGITS = 10
_REJECT_FUNCTION = 15
_REJECTS = {reject.number: reject for reject in Reject}


@dataclass(slots=True)
class _Path:
    """A path as far as it has been read."""

    prefix: str
    session: str
    since: str
    best: bool
    via: list[str]
    attributes: dict[str, str] = field(default_factory=dict)


def parse_routes(
    lines: Iterable[tuple[int, str]], *, machine: str, asn: int, filtered: bool = False
) -> tuple[RouteView, ...]:
    """Return the paths in an answer of BIRD on `machine` to `show route ... all`.

    `lines` are the codes and texts of a `BirdReply`; `asn` is our own. With `filtered` the
    question was for refused routes, of which none is in use whatever BIRD marks.

    Raises:
        ValueError: a line about routes is not of a form that we know.
    """
    paths: list[_Path] = []
    for code, line in lines:
        if code == _ROUTE:
            _read_route(line, paths)
        elif paths and (found := _ATTRIBUTE.fullmatch(line)):
            paths[-1].attributes[found["name"]] = found["value"]
    return tuple(_view(path, machine, asn, filtered=filtered) for path in paths)


def _read_route(line: str, paths: list[_Path]) -> None:
    """Note what a line tells of prefixes, paths or nexthops."""
    if not line.strip() or _TABLE.fullmatch(line):
        return
    if paths and (found := _NEXTHOP.fullmatch(line)):
        weight = _WEIGHT.search(found["more"])
        via = f"{found['via']} dev " if found["via"] else "dev "
        paths[-1].via.append(f"{via}{found['device']}{weight[0] if weight else ''}")
        return
    found = _PATH.fullmatch(line)
    if found is None or not (found["prefix"] or paths):
        raise ValueError(f"this is no line of a route: {line[:80]!r}")
    paths.append(
        _Path(
            prefix=str(ip_network(found["prefix"])) if found["prefix"] else paths[-1].prefix,
            session=found["session"],
            since=found["since"],
            best=found["best"] is not None,
            via=[] if found["leads"] == "unicast" else [found["leads"]],
        )
    )


def _view(path: _Path, machine: str, asn: int, *, filtered: bool) -> RouteView:
    said = path.attributes
    large = _communities(said.get("large_community", ""))
    return RouteView(
        machine=machine,
        prefix=path.prefix,
        session=path.session,
        best=path.best and not filtered,
        filtered=filtered,
        reject=_reject(large, asn) if filtered else None,
        via=tuple(path.via),
        since=path.since,
        as_path=tuple(_HOP.findall(said.get("as_path", ""))),
        origin=said.get("origin", ""),
        local_preference=_number(said.get("local_pref", "")),
        med=_number(said.get("med", "")),
        communities=_communities(said.get("community", "")),
        large_communities=large,
    )


def _communities(text: str) -> tuple[str, ...]:
    """Return `65535:0` for each `(65535,0)`, and `64500:1:7` for each `(64500, 1, 7)`."""
    return tuple(each.replace(" ", "").replace(",", ":") for each in _COMMUNITY.findall(text))


def _number(text: str) -> int | None:
    known = text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS
    return int(text) if known else None


def _reject(large: tuple[str, ...], asn: int) -> Reject | None:
    start = f"{asn}:{_REJECT_FUNCTION}:"
    numbers = (_number(each.removeprefix(start)) for each in large if each.startswith(start))
    return next((_REJECTS[number] for number in numbers if number in _REJECTS), None)
