"""Who asks much is sent away with a sentence; who needs a controller finds it free."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import product
from typing import TypeVar

import httpx2
import pytest

from pltfrms.api.app import doors_of, make_app
from pltfrms.api.bounds.callers import CallerKind
from pltfrms.api.bounds.lanes import Doors
from pltfrms.api.bounds.shares import (
    BODY_BYTES_MAX,
    OF_MACHINES,
    OF_STRANGERS,
    SEATS_OF_ALL,
    Lane,
)
from pltfrms.codec import decode, encode
from pltfrms.drivers.aside import Here
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.messages.api import ErrorBody, Heartbeat
from pltfrms.model.running.state import MachineStatus
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform

BEAT = encode(Heartbeat(status=MachineStatus(machine="fra-n1")))
STRANGER, OTHER = "2001:db8:bad::1", "2001:db8:dead::1"
_T = TypeVar("_T")

From = Callable[[str], httpx2.AsyncClient]


def serve(story: Callable[[Cluster, From, Doors], Awaitable[None]]) -> None:
    """Run a story against the API of a small cluster, asked from any address."""

    async def run() -> None:
        cluster = Cluster(make_platform({"fra": 3}))
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 5, 10)
        doors = doors_of(cluster.operations)
        app = make_app(cluster.operations, doors=doors)
        async with AsyncExitStack() as clients:

            def come_from(address: str) -> httpx2.AsyncClient:
                transport = httpx2.ASGITransport(app, client=(address, 1))
                client = httpx2.AsyncClient(transport=transport, base_url="http://c")
                clients.push_async_callback(client.aclose)
                return client

            await asyncio.ensure_future(story(cluster, come_from, doors))

    run_virtual(run())


def address_of(cluster: Cluster, machine: str) -> str:
    platform = cluster.operations.snapshot().snapshot.platform
    return str(platform.loopback6(platform.machine(machine)))


class _Slow(Here):
    """Computes each answer for a second."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def run(self, size: int, work: Callable[[], _T]) -> _T:
        await self._cluster.clock.sleep(1.0)
        return await super().run(size, work)


def test_too_many_readers_are_sent_away_for_a_second_and_heartbeats_are_taken() -> None:
    async def story(cluster: Cluster, come_from: From, _doors: Doors) -> None:
        cluster.operations.controller.aside = _Slow(cluster)
        most, each = SEATS_OF_ALL[Lane.LARGE], OF_STRANGERS[Lane.LARGE].seats
        callers = [come_from(f"2001:db8:{n}::1") for n in range(most // each + 1)]
        asking = [
            asyncio.ensure_future(caller.get("/v1/snapshot"))
            for caller, _ in product(callers, range(each))
        ]
        await cluster.clock.sleep(0.5)
        assert (await callers[0].post("/v1/heartbeats", content=BEAT)).status_code == 200
        answers = await asyncio.gather(*asking)
        assert [got.status_code for got in answers] == [200] * most + [503] * each
        assert {got.headers["retry-after"] for got in answers[most:]} == {"1"}
        assert (await callers[-1].get("/v1/snapshot")).status_code == 200

    serve(story)


def test_root_of_this_machine_reads_while_others_take_all_seats() -> None:
    async def story(cluster: Cluster, come_from: From, _doors: Doors) -> None:
        cluster.operations.controller.aside = _Slow(cluster)
        callers = [come_from(f"2001:db8:{n}::1") for n in range(SEATS_OF_ALL[Lane.LARGE])]
        asking = [asyncio.ensure_future(each.get("/v1/snapshot")) for each in callers]
        await cluster.clock.sleep(0.5)
        assert (await come_from(STRANGER).get("/v1/snapshot")).status_code == 503
        assert (await come_from("").get("/v1/snapshot")).status_code == 200
        await asyncio.gather(*asking)

    serve(story)


def test_a_flood_of_one_caller_gets_429_and_when_to_ask_again() -> None:
    async def story(cluster: Cluster, come_from: From, doors: Doors) -> None:
        rate = OF_STRANGERS[Lane.LARGE].rate
        flooding, other = come_from(STRANGER), come_from(OTHER)
        for _ in range(rate.burst):
            assert (await flooding.get("/v1/snapshot")).status_code == 200
        answer = await flooding.get("/v1/snapshot")
        error = decode(ErrorBody, answer.content)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert (error.error, error.nothing_done) == (UnavailableError.__name__, True)
        assert "2001:db8:bad::/64 asks more than 10 times a second" in error.message
        assert (await come_from("2001:db8:bad::2").get("/v1/snapshot")).status_code == 429
        assert (await other.get("/v1/snapshot")).status_code == 200
        assert (await flooding.get("/healthz")).status_code == 200
        text = (await other.get("/metrics")).text
        assert 'pltfrms_api_refused_total{lane="large",reason="rate"} 2.0' in text
        await cluster.clock.sleep(int(answer.headers["retry-after"]))
        assert (await flooding.get("/v1/snapshot")).status_code == 200
        assert doors.shares.refused[Lane.LARGE, "rate"] == 2

    serve(story)


def test_machines_are_known_before_the_store_has_answered() -> None:
    """All machines of a site connect at once to a controller that has just started."""

    async def run() -> None:
        platform = make_platform({"fra": 3})
        cluster = Cluster(platform)
        seat = next(iter(cluster.seats.values()))
        seat.start()
        assert seat.operations
        assert seat.controller.view.platform is None
        callers = doors_of(seat.operations).callers
        for machine in platform.machines:
            caller = callers.behind((str(platform.loopback6(machine)), 1))
            assert (caller.kind, caller.name) == (CallerKind.MACHINE, machine.name)

    run_virtual(run())


def test_no_flood_takes_the_heartbeats_of_a_machine() -> None:
    async def story(cluster: Cluster, come_from: From, _doors: Doors) -> None:
        machine = come_from(address_of(cluster, "fra-n1"))
        for stranger in (come_from(f"2001:db8:{n}::1") for n in range(3)):
            share = OF_STRANGERS[Lane.HEARTBEAT]
            codes = {
                (await stranger.post("/v1/heartbeats", content=BEAT)).status_code
                for _ in range(share.rate.burst + 1)
            }
            assert codes == {200, 429}
        for _ in range(OF_MACHINES[Lane.HEARTBEAT].rate.burst):
            assert (await machine.post("/v1/heartbeats", content=BEAT)).status_code == 200
        assert (await machine.post("/v1/heartbeats", content=BEAT)).status_code == 429
        other = come_from(address_of(cluster, "fra-n2"))
        assert (await other.post("/v1/heartbeats", content=BEAT)).status_code == 200

    serve(story)


def test_who_waits_has_few_seats_and_leaves_them_with_its_connection() -> None:
    async def story(cluster: Cluster, come_from: From, doors: Doors) -> None:
        machine = come_from(address_of(cluster, "fra-n1"))
        path = "/v1/targets/fra-n1?after=1000000000&wait_ms=60000"
        seats = OF_MACHINES[Lane.WAIT].seats
        waiting = [asyncio.ensure_future(machine.get(path)) for _ in range(seats)]
        await cluster.clock.sleep(1)
        assert doors.shares.taken()[Lane.WAIT] == seats
        assert (await machine.get(path)).status_code == 429
        assert (await machine.post("/v1/heartbeats", content=BEAT)).status_code == 200
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert doors.shares.taken()[Lane.WAIT] == 0

    serve(story)


@pytest.mark.parametrize(
    ("path", "lane"),
    [("/v1/heartbeats", Lane.HEARTBEAT), ("/v1/plan", Lane.LARGE), ("/v1/apply", Lane.OTHER)],
)
def test_no_more_of_a_body_is_read_than_it_may_have(path: str, lane: Lane) -> None:
    async def story(_cluster: Cluster, come_from: From, _doors: Doors) -> None:
        sent = 0

        async def parts() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 65_536
                yield b" " * 65_536

        client, most = come_from(STRANGER), BODY_BYTES_MAX[lane]
        answer = await client.post(path, content=parts())
        assert (answer.status_code, sent) == (413, most + 65_536)
        assert decode(ErrorBody, answer.content).error == UsageError.__name__
        said = await client.post(path, content=parts(), headers={"Content-Length": "9" * 18})
        assert (said.status_code, sent) == (413, most + 65_536)

    serve(story)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/heartbeats",
        "/v1/plan",
        "/v1/apply",
        "/v1/interventions",
    ],
)
@pytest.mark.parametrize("depth", [100, 199, 201, 500_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"status":', "}"), ("[{", "}]")])
def test_a_deeply_nested_body_is_refused_at_once(
    path: str, depth: int, begin: str, end: str
) -> None:
    async def story(cluster: Cluster, come_from: From, _doors: Doors) -> None:
        before = cluster.state.list("/").revision
        nested = f"{begin * depth}1{end * depth}"[:900_000]
        field = (
            f'{{"status": {{"machine": 1, "of_the_next_release": {nested}}}, "x": {nested}}}'
        )
        for body in (nested, field[:1_900_000]):
            answer = await come_from(STRANGER).post(path, content=body.encode())
            assert answer.status_code == 400, answer.text[:200]
            assert len(answer.content) < 2000
        assert cluster.state.list("/").revision == before

    serve(story)


@pytest.mark.parametrize("depth", [20, 150, 195, 250])
def test_a_deeply_nested_report_is_kept_or_refused_and_stops_nobody(depth: int) -> None:
    async def story(cluster: Cluster, come_from: From, _doors: Doors) -> None:
        nested = "[" * depth + "]" * depth
        body = f'{{"status": {{"machine": "fra-n1", "problems": {nested}}}}}'.encode()
        answer = await come_from(STRANGER).post("/v1/heartbeats", content=body)
        assert answer.status_code in {200, 400}
        await cluster.clock.sleep(3)
        assert cluster.stored().unreadable == ()
        for path in ("/v1/snapshot", "/readyz", "/v1/targets/fra-n2"):
            assert (await come_from(STRANGER).get(path)).status_code == 200

    serve(story)
