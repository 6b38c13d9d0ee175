"""The looking glass and its client: what may be asked, limits, and a real BIRD behind it."""

import asyncio
import contextlib
import functools
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from pltfrms.agent.glass import BalancerEye, look_at_balancer
from pltfrms.drivers.glass.client import (
    GlassClient,
    GlassMachine,
    RouteQuestion,
    route_commands,
)
from pltfrms.drivers.glass.server import GlassLimits, LookingGlass, may_ask
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.model.running.balancer import BalancerMode, BalancerView

PLACE = GlassMachine(machine="fra-e1", address=IPv6Address("::1"), asn=64500)
CONFIG = """
router id 192.0.2.1;
protocol device {}
protocol static one { ipv4 {
    import keep filtered on;
    import filter {
      if net.len = 25 then { bgp_large_community.add((64500, 15, 2)); reject; }
      accept;
    };
  };
  route 192.0.2.0/24 unreachable;
  route 198.51.100.0/25 unreachable;
}
protocol static two { ipv6 {}; route 2001:db8::/32 blackhole; }
"""


# ---- what may be asked ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "show status",
        "show route",
        "show route for 192.0.2.1 all table master4 protocol 'peer.transit1:2.ipv4'",
        "show route 2001:db8::/32 filtered all",
        "show logs backup@7 lines 50 after 1.77",
        'show protocols all "peer.*"',
        "show ospf neighbors 'ospf.underlay'",
        "eval roa_check(rpki4, 198.51.100.0/24, 64500)",
        "eval roa_check(rpki6, 2001:db8:100::/48, 64500)",
    ],
)
def test_looking_is_allowed(command: str) -> None:
    assert may_ask(command)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "show",
        "configure",
        "show route for a@7",
        "disable all",
        "restart 'peer.transit1.ipv4'",
        "eval 1",
        "eval roa_check(rpki4, 198.51.100.0/24, 64500) + 1",
        "eval roa_check(rpki4, 198.51.100.0/24, evil())",
        "eval roa_check(other, 198.51.100.0/24, 64500)",
        "show status eval roa_check(rpki4, 198.51.100.0/24, 64500)",
        "dump routes",
        "echo all",
        "showx status",
        "show status; configure",
        "show status\nconfigure",
        "show status\rconfigure",
        'show route filter { print "x"; accept; }',
        "show route where net.len = 24",
        "show route WHERE true",
        "show route filter evil",
        "show route filter'evil'",
        "show route /**/where true",
        "show route for 1.2.3.4/where true",
        "show route all # where",
        "show route 'x y'",
    ],
)
def test_everything_else_is_not(command: str) -> None:
    assert not may_ask(command)


def test_questions_become_commands() -> None:
    question = RouteQuestion(prefix="2001:db8::1", session="peer.t1.ipv6")
    assert route_commands(question) == (
        "show route for 2001:db8::1/128 all table master6 protocol 'peer.t1.ipv6'",
    )
    leaving = RouteQuestion(prefix="192.0.2.0/24", exported="peer.t1.ipv4")
    assert route_commands(leaving) == (
        "show route for 192.0.2.0/24 all table master4 export 'peer.t1.ipv4'",
    )
    refused = route_commands(RouteQuestion(prefix="192.0.2.0/24", filtered=True))
    assert refused[0] == "show route 192.0.2.0/24 filtered all table master4"
    assert refused[-1] == "show route 0.0.0.0/0 filtered all table master4"
    commands = (*refused, *route_commands(question), *route_commands(leaving))
    assert all(map(may_ask, commands))


@pytest.mark.parametrize(
    "question",
    [
        RouteQuestion(prefix="web"),
        RouteQuestion(prefix="192.0.2.1/24"),
        RouteQuestion(prefix="192.0.2.1", session="x' all; configure"),
        RouteQuestion(prefix="192.0.2.1", filtered=True, exported="peer.t1.ipv4"),
    ],
)
def test_questions_that_make_no_sense(question: RouteQuestion) -> None:
    with pytest.raises(UsageError):
        route_commands(question)


# ---- with a BIRD behind --------------------------------------------------------------------


@pytest.fixture
def bird(tmp_path: Path) -> Iterator[Path]:
    """Start a real BIRD that touches nothing of this machine."""
    control, config = tmp_path / "bird.ctl", tmp_path / "bird.conf"
    config.write_text(CONFIG)
    words = ("bird", "-f", "-c", str(config), "-s", str(control))
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        command = ("birdc", "-s", str(control), "show", "status")
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    try:
        for _ in range(100):
            if ready():
                break
        yield control
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def opened(
    control: Path,
    limits: GlassLimits | None = None,
    own: Callable[[str], str | None] | None = None,
) -> AsyncIterator[int]:
    """Open a looking glass on a port of the loopback."""
    glass = LookingGlass(control, limits, own)
    limit = glass.limits.command_bytes
    async with await asyncio.start_server(glass.serve, "::1", 0, limit=limit) as server:
        yield server.sockets[0].getsockname()[1]


class Talk:
    """A client that says whatever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def line(self) -> str:
        return (await asyncio.wait_for(self.reader.readline(), 15)).decode()

    async def ask(self, command: str) -> str:
        self.writer.write(f"{command}\n".encode())
        return await self.line()


@contextlib.asynccontextmanager
async def talk(port: int) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("::1", port)
    yield Talk(reader, writer)
    writer.close()


def test_routes_of_a_real_bird(bird: Path) -> None:
    async def story() -> None:
        async with opened(bird) as port:
            client = GlassClient(port)
            (route,) = await client.routes(PLACE, RouteQuestion(prefix="192.0.2.7"))
            assert (route.prefix, route.session, route.best) == ("192.0.2.0/24", "one", True)
            (hole,) = await client.routes(PLACE, RouteQuestion(prefix="2001:db8::/48"))
            assert (hole.via, hole.machine) == (("blackhole",), "fra-e1")
            assert await client.routes(PLACE, RouteQuestion(prefix="203.0.113.1")) == ()
            refused = RouteQuestion(prefix="198.51.100.1", filtered=True)
            (route,) = await client.routes(PLACE, refused)
            assert (route.prefix, route.reject) == ("198.51.100.0/25", "bogon")
            of_one = RouteQuestion(prefix="192.0.2.7", session="one")
            assert await client.routes(PLACE, of_one)
            with pytest.raises(NotFoundError):
                await client.routes(PLACE, RouteQuestion(prefix="192.0.2.7", session="none"))
            assert "Input filter" in (await client.session(PLACE, "one")).text
            with pytest.raises(NotFoundError):
                await client.session(PLACE, "none")

    asyncio.run(story())


def test_nothing_but_looking(bird: Path) -> None:
    async def story() -> None:
        async with opened(bird) as port, talk(port) as client:
            assert await client.line() == "0001 BIRD looking glass ready.\n"
            for command in ("configure", "disable one", "down", "", "show"):
                assert await client.ask(command) == "8007 Access denied\n"
            assert await client.ask("restrict") == "0016 Access restricted\n"
            assert (await client.ask("show status")).startswith("1000-BIRD ")
            while not (await client.line()).startswith("0013 "):
                pass
            assert await client.ask("quit") == ""

    asyncio.run(story())


def test_limits_hold(bird: Path) -> None:
    limits = GlassLimits(clients=1, answer_bytes=60, command_bytes=64)

    async def story() -> None:
        async with opened(bird, limits) as port:
            async with talk(port) as first, talk(port) as second:
                assert (await first.line()).startswith("0001 ")
                assert await second.line() == "8007 Access denied: 1 clients already\n"
                assert await second.line() == ""
                first.writer.write(b"show route all\n")
                answer = (await first.reader.read()).decode().splitlines()
                assert answer[0] == "1007-Table master4:"
                assert answer[-1] == "8000 Reply too long; ask for less"
                assert sum(len(line) + 1 for line in answer[:-1]) <= 60
            await asyncio.sleep(0.05)
            async with talk(port) as long:
                await long.line()
                assert await long.ask("show route " + "a" * 100) == "9000 Command too long\n"
                assert await long.line() == ""

    asyncio.run(story())


# ---- what we answer ourselves ---------------------------------------------------------------

BIG = BalancerView(
    machine="",
    mode=BalancerMode.DIRECTOR,
    detail="TCX; " + "x" * 100_000,
    totals={"stale": 3},
)


def test_the_balancer_is_shown_by_ourselves(tmp_path: Path) -> None:
    rows: list[tuple[int, int]] = []

    def row(service_id: int, number: int) -> tuple[IPv6Address, ...]:
        rows.append((service_id, number))
        return (IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"))

    eye = BalancerEye(view=lambda: BIG, row=row)

    async def story() -> None:
        own = functools.partial(look_at_balancer, eye)
        async with opened(tmp_path / "none.ctl", own=own) as port:
            client = GlassClient(port)
            assert await client.balancer(PLACE) == replace(BIG, machine="fra-e1")
            assert await client.balancer_row(PLACE, 3, 16_383) == row(3, 16_383)
            assert rows == [(3, 16_383)] * 2
            async with talk(port) as words:
                await words.line()
                for wrong in ("show balancer row 3 16384", "show balancer rows"):
                    assert (await words.ask(wrong)).startswith("9001 say: show balancer row")
                assert (await words.ask("show balancers")).startswith(
                    "8004 no answer from BIRD"
                )

    asyncio.run(story())


def test_a_balancer_that_cannot_be_looked_at(bird: Path) -> None:
    def refuse() -> BalancerView:
        raise UnavailableError("the kernel refuses")

    eye = BalancerEye(view=refuse, row=lambda _service, _row: ())

    async def story() -> None:
        own = functools.partial(look_at_balancer, eye)
        async with opened(bird, own=own) as port:
            with pytest.raises(UnavailableError, match=r"fra-e1 does.*the kernel refuses"):
                await GlassClient(port).balancer(PLACE)
        async with opened(bird) as port:  # an agent that knows of no balancer
            with pytest.raises(
                UnavailableError, match="fra-e1 does not show its balancer: 9001"
            ):
                await GlassClient(port).balancer(PLACE)
        small = GlassLimits(answer_bytes=1000)
        eye_of_much = BalancerEye(view=lambda: BIG, row=lambda _service, _row: ())
        own = functools.partial(look_at_balancer, eye_of_much)
        async with opened(bird, small, own) as port:
            with pytest.raises(UnavailableError, match="Reply too long"):
                await GlassClient(port).balancer(PLACE)

    asyncio.run(story())


# ---- with something worse behind -----------------------------------------------------------

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def bird_that(directory: Path, behave: Behaviour) -> tuple[asyncio.Server, Path]:
    control = directory / "odd.ctl"
    return await asyncio.start_unix_server(behave, control), control


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"0001 BIRD 2.0.12 ready.\n0016 Access restricted\n1007-Table master4:\n")
    while await reader.read(100):
        pass
    writer.close()


async def open_to_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"0001 BIRD 2.0.12 ready.\n")
    await reader.readline()
    writer.write(b"9001 syntax error\n")
    assert await reader.read() == b""
    writer.close()


def test_a_bird_that_hangs_costs_no_more_than_its_time(tmp_path: Path) -> None:
    async def story() -> None:
        server, control = await bird_that(tmp_path, hang)
        limits = GlassLimits(command_seconds=0.2)
        async with server, opened(control, limits) as port, talk(port) as client:
            await client.line()
            client.writer.write(b"show route\n")
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(client.reader.read(), 1) != b""
            with pytest.raises(UnavailableError):
                await GlassClient(port, 0.5).routes(PLACE, RouteQuestion(prefix="192.0.2.1"))

    asyncio.run(story())


def test_a_bird_that_does_not_restrict_itself_is_not_asked(tmp_path: Path) -> None:
    async def story() -> None:
        server, control = await bird_that(tmp_path, open_to_all)
        async with server, opened(control) as port, talk(port) as client:
            await client.line()
            assert (await client.ask("show status")).startswith("8004 BIRD does not restrict")

    asyncio.run(story())


def test_without_bird_the_glass_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path / "none.ctl") as port, talk(port) as client:
            await client.line()
            assert (await client.ask("show status")).startswith("8004 no answer from BIRD")
            with pytest.raises(UnavailableError, match="no answer from BIRD"):
                await GlassClient(port).routes(PLACE, RouteQuestion(prefix="192.0.2.1"))

    asyncio.run(story())


def test_a_machine_without_glass_is_unavailable() -> None:
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnavailableError, match="looking glass at"):
        asyncio.run(GlassClient(port).routes(PLACE, RouteQuestion(prefix="192.0.2.1")))


def test_an_idle_client_is_sent_away(bird: Path) -> None:
    async def story() -> None:
        limits = GlassLimits(idle_seconds=0.1)
        async with opened(bird, limits) as port, talk(port) as client:
            await client.line()
            with contextlib.suppress(ConnectionResetError):
                assert await client.line() == ""

    asyncio.run(story())
