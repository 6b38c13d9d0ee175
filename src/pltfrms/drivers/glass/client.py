"""Ask the looking glass of a machine for routes, sessions and its balancer."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Protocol, TypeVar

from pltfrms.codec import decode
from pltfrms.drivers.bird.control_socket import BirdReply, remote_connection
from pltfrms.drivers.bird.routes import parse_routes
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.model.addresses import read_prefix
from pltfrms.model.messages.glass import InstanceLog, RouteView, SessionText
from pltfrms.model.network.topology import GLASS_PORT
from pltfrms.model.running.balancer import BalancerView

_ANSWER_SECONDS = 3.0
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_LOGGED = re.compile(r"[a-z0-9.@-]{1,100}")
"""A service, an instance or a run of a job; and a position in a log."""
_T = TypeVar("_T")
_OK = 0
_NO_ROUTE = 8001
_SYNTAX = 9001
_NAME_EXPECTED = "CF_SYM_KNOWN"
"""What BIRD's parser says it wanted, instead of a name that nothing has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassMachine:
    """A machine with a looking glass."""

    machine: str
    address: IPv6Address
    asn: int
    """Ours, which says which communities are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteQuestion:
    """Which routes are asked for."""

    prefix: str
    """A prefix or an address; the answer is the longest match."""
    session: str = ""
    """Only what this protocol of BIRD brought."""
    filtered: bool = False
    """What was refused on import, instead of what was accepted."""
    exported: str = ""
    """What is announced over this protocol, as its neighbour gets it."""


class Glass(Protocol):
    """Somebody who can look into machines. Every method raises UnavailableError."""

    async def routes(
        self, place: GlassMachine, question: RouteQuestion
    ) -> tuple[RouteView, ...]:
        """Return the paths of the longest match, none if there is no match.

        Raises:
            UsageError: the question makes no sense as said.
            NotFoundError: BIRD has no session of that name.
        """
        ...

    async def session(self, place: GlassMachine, name: str) -> SessionText:
        """Return what BIRD says of a session; UsageError and NotFoundError as `routes`."""
        ...

    async def balancer(self, place: GlassMachine) -> BalancerView:
        """Return the balancer of a machine."""
        ...

    async def balancer_row(
        self, place: GlassMachine, service_id: int, row: int
    ) -> tuple[IPv6Address, ...]:
        """Return what the kernel has in a row of a service's table; () if it has no table."""
        ...

    async def logs(
        self, place: GlassMachine, name: str, lines: int, after: str = ""
    ) -> tuple[InstanceLog, ...]:
        """Return what instances of a service, or of an allocation, said on a machine."""
        ...


class GlassClient:
    """The looking glasses of our machines, over the network."""

    def __init__(
        self,
        port: int = GLASS_PORT,
        seconds: float = _ANSWER_SECONDS,
        tls: Callable[[str], TlsEnd] | None = None,
    ) -> None:
        """Give every question `seconds`; nothing is opened.

        `tls` says whom to expect as a machine; without it they are asked plainly.
        """
        self._port = port
        self._seconds = seconds
        self._tls = tls

    async def routes(
        self, place: GlassMachine, question: RouteQuestion
    ) -> tuple[RouteView, ...]:
        """Return the paths of the longest match; see `Glass.routes`."""
        commands = route_commands(question)
        for reply in await self._ask(place, commands):
            try:
                found = parse_routes(
                    reply.lines,
                    machine=place.machine,
                    asn=place.asn,
                    filtered=question.filtered,
                )
            except ValueError as error:
                raise UnavailableError(f"{place.machine}: not understood: {error}") from error
            if found:
                return found
        return ()

    async def session(self, place: GlassMachine, name: str) -> SessionText:
        """Return what BIRD says of a session; see `Glass.session`."""
        (reply,) = await self._ask(place, [f"show protocols all {_quoted(name)}"])
        text = "\n".join(line for _, line in reply.lines).strip()
        return SessionText(machine=place.machine, session=name, text=text)

    async def balancer(self, place: GlassMachine) -> BalancerView:
        """Return the balancer of a machine; see `Glass.balancer`."""
        view = await self._ask_agent(place, "show balancer", BalancerView)
        return replace(view, machine=place.machine)

    async def balancer_row(
        self, place: GlassMachine, service_id: int, row: int
    ) -> tuple[IPv6Address, ...]:
        """Return a row of a table; see `Glass.balancer_row`."""
        command = f"show balancer row {service_id} {row}"
        return await self._ask_agent(place, command, tuple[IPv6Address, ...])

    async def logs(
        self, place: GlassMachine, name: str, lines: int, after: str = ""
    ) -> tuple[InstanceLog, ...]:
        """Return what instances said on a machine; see `Glass.logs`."""
        if not all(map(_LOGGED.fullmatch, (name, after or "-"))):
            raise UsageError(f"{name[:100]!r} has no log; see: pltfrms service show")
        command = f"show logs {name} lines {lines}" + (f" after {after}" if after else "")
        found = await self._ask_agent(place, command, tuple[InstanceLog, ...], "logs")
        return tuple(replace(each, machine=place.machine) for each in found)

    async def _ask_agent(
        self, place: GlassMachine, command: str, kind: type[_T], what: str = "balancer"
    ) -> _T:
        (reply,) = await self._say(place, [command])
        if reply.code != _OK:
            raise UnavailableError(
                f"{place.machine} does not show its {what}: {reply.code} {reply.last}"
            )
        text = "".join(line for _, line in reply.lines)
        try:
            return decode(kind, text)
        except UsageError as error:
            raise UnavailableError(f"{place.machine}: not understood: {error}") from error

    async def _ask(self, place: GlassMachine, commands: Sequence[str]) -> tuple[BirdReply, ...]:
        replies = await self._say(place, commands)
        for reply in replies:
            _check(reply, place.machine)
        return replies

    async def _say(self, place: GlassMachine, commands: Sequence[str]) -> tuple[BirdReply, ...]:
        tls = self._tls(place.machine) if self._tls else None
        async with remote_connection(place.address, self._port, self._seconds, tls) as bird:
            return await bird.ask_all(commands)


def route_commands(question: RouteQuestion) -> tuple[str, ...]:
    """Return what to ask BIRD; the first answer with routes counts.

    BIRD's longest match is blind to refused routes, so those are looked for length by length.

    Raises:
        UsageError: the question makes no sense as said.
    """
    prefix = read_prefix(question.prefix)
    if question.filtered and question.exported:
        raise UsageError("a refused route is not announced: ask for one of the two")
    ending = f"all table master{prefix.version}"
    if question.session:
        ending += f" protocol {_quoted(question.session)}"
    if question.exported:
        ending += f" export {_quoted(question.exported)}"
    if not question.filtered:
        return (f"show route for {prefix} {ending}",)
    return tuple(
        f"show route {prefix.supernet(new_prefix=length)} filtered {ending}"
        for length in range(prefix.prefixlen, -1, -1)
    )


def _quoted(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is no name of a session; see: pltfrms session list")
    return f"'{name}'"


def _check(reply: BirdReply, machine: str) -> None:
    if reply.code in {_OK, _NO_ROUTE}:
        return
    if reply.code == _SYNTAX and _NAME_EXPECTED in reply.last:
        raise NotFoundError(
            f"BIRD on {machine} has no such session or table; see: pltfrms session list"
        )
    raise UnavailableError(f"BIRD on {machine} says: {reply.code} {reply.last}")
