"""The looking glass over HTTP (in memory), with a stand-in for the machines."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address

import httpx2
import pytest

from pltfrms.api.app import make_app
from pltfrms.api.routes import logs
from pltfrms.codec import decode, encode
from pltfrms.drivers.glass.client import GlassMachine, RouteQuestion
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.messages.api import Change, ErrorBody, PlanPreview
from pltfrms.model.messages.glass import (
    BalancerAnswers,
    InstanceLog,
    LogAnswers,
    RouteAnswers,
    RouteView,
    SessionText,
)
from pltfrms.model.messages.jobs import JobAsk, JobChange, JobReply
from pltfrms.model.network.topology import Role
from pltfrms.model.running.balancer import BalancerMode, BalancerView
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.service import Run
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform, make_spec


class FakeGlass:
    """Every machine has one route, unless it is silent."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: list[tuple[GlassMachine, RouteQuestion]] = []
        self.looked: list[tuple[str, str, int, str]] = []
        self.said: tuple[str, ...] = ("said",)

    async def routes(
        self, place: GlassMachine, question: RouteQuestion
    ) -> tuple[RouteView, ...]:
        self.asked.append((place, question))
        if place.machine in self.silent:
            raise UnavailableError(f"no answer from {place.machine}")
        if question.session == "only-fra-e1" and place.machine != "fra-e1":
            raise NotFoundError("no such session")
        if question.session == "nope":
            raise NotFoundError("no such session")
        route = RouteView(machine=place.machine, prefix=question.prefix, session="s", best=True)
        return (route,)

    async def session(self, place: GlassMachine, name: str) -> SessionText:
        if name != "s":
            raise NotFoundError("no such session")
        return SessionText(machine=place.machine, session=name, text="BGP state: up")

    async def balancer(self, place: GlassMachine) -> BalancerView:
        if place.machine in self.silent:
            raise UnavailableError(f"no answer from {place.machine}")
        return BalancerView(machine=place.machine, mode=BalancerMode.DIRECTOR)

    async def balancer_row(
        self, place: GlassMachine, service_id: int, row: int
    ) -> tuple[IPv6Address, ...]:
        if place.machine in self.silent:
            raise UnavailableError(f"no answer from {place.machine}")
        return (IPv6Address((service_id << 32) | row),)

    async def logs(
        self, place: GlassMachine, name: str, lines: int, after: str = ""
    ) -> tuple[InstanceLog, ...]:
        if place.machine in self.silent:
            raise UnavailableError(f"no answer from {place.machine}")
        self.looked.append((place.machine, name, lines, after))
        names = (name,) if "." in name else (f"{name}.fra.1-1", f"{name}.fra.9-9")
        return tuple(
            InstanceLog(
                machine=place.machine,
                allocation=each,
                lines=self.said,
                position="1.5",
                said_ms=1,
            )
            for each in names
        )


Story = Callable[[Cluster, FakeGlass, httpx2.AsyncClient], Awaitable[None]]


def serve(story: Story) -> None:
    async def run() -> None:
        cluster = Cluster(make_platform({"fra": 1, "ams": 1}))
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) > 2, 10)
        glass = FakeGlass()
        transport = httpx2.ASGITransport(make_app(cluster.operations, glass))
        async with httpx2.AsyncClient(transport=transport, base_url="http://c") as client:
            await asyncio.ensure_future(story(cluster, glass, client))

    run_virtual(run())


def test_one_machine_is_asked() -> None:
    async def story(cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        path = "/v1/routes/fra-e1?prefix=192.0.2.1&session=s&filtered=true"
        (route,) = decode(list[RouteView], (await client.get(path)).content)
        assert route.machine == "fra-e1"
        ((place, question),) = glass.asked
        platform = cluster.platform
        assert place.address == platform.loopback6(platform.machine("fra-e1"))
        assert question == RouteQuestion(prefix="192.0.2.1", session="s", filtered=True)
        answer = await client.get("/v1/sessions/fra-e1/s")
        assert decode(SessionText, answer.content).text == "BGP state: up"

    serve(story)


def test_who_lacks_a_session_is_not_silent_and_one_that_nobody_has_is_not_found() -> None:
    async def story(_cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/v1/routes?prefix=192.0.2.1&session=only-fra-e1")
        found = decode(RouteAnswers, answer.content)
        assert [route.machine for route in found.routes] == ["fra-e1"]
        assert found.silent == {}
        answer = await client.get("/v1/routes?prefix=192.0.2.1&session=nope")
        assert (answer.status_code, "no such session" in answer.text) == (404, True)
        glass.silent = {"ams-e1"}  # it may have it
        answer = await client.get("/v1/routes?prefix=192.0.2.1&session=nope")
        assert decode(RouteAnswers, answer.content).silent == {
            "ams-e1": "no answer from ams-e1"
        }

    serve(story)


def test_all_edges_are_asked_and_who_is_silent_is_named() -> None:
    async def story(_cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        glass.silent = {"ams-e1"}
        answer = await client.get("/v1/routes?prefix=192.0.2.1")
        found = decode(RouteAnswers, answer.content)
        assert {route.machine for route in found.routes} == {"fra-e1"}
        assert found.silent == {"ams-e1": "no answer from ams-e1"}
        answer = await client.get("/v1/routes?prefix=192.0.2.1&machine=fra-n1&machine=fra-e1")
        found = decode(RouteAnswers, answer.content)
        assert [route.machine for route in found.routes] == ["fra-n1", "fra-e1"]

    serve(story)


def test_errors_say_what_is_wrong() -> None:
    async def story(_cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        async def said(path: str) -> tuple[int, str]:
            answer = await client.get(path)
            return answer.status_code, decode(ErrorBody, answer.content).error

        glass.silent = {"ams-e1"}
        assert await said("/v1/routes/ams-e1?prefix=192.0.2.1") == (503, "UnavailableError")
        assert await said("/v1/routes/none?prefix=192.0.2.1") == (404, "NotFoundError")
        assert await said("/v1/routes?prefix=192.0.2.1&machine=no") == (404, "NotFoundError")
        assert await said("/v1/routes?prefix=web") == (400, "UsageError")
        assert await said("/v1/routes") == (400, "UsageError")
        assert await said("/v1/sessions/fra-e1/x") == (404, "NotFoundError")

    serve(story)


def test_balancers_of_one_and_of_all() -> None:
    async def story(cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/v1/balancers/fra-n1")
        assert decode(BalancerView, answer.content).machine == "fra-n1"
        row = await client.get("/v1/balancers/fra-n1/row?service=3&row=7")
        assert decode(list[IPv6Address], row.content) == [IPv6Address("::3:0:7")]
        glass.silent = {"ams-e1"}
        found = decode(BalancerAnswers, (await client.get("/v1/balancers")).content)
        wanted = {m.name for m in cluster.platform.machines if m.role is not Role.CONTROLLER}
        assert {view.machine for view in found.balancers} == wanted - {"ams-e1"}
        assert found.silent == {"ams-e1": "no answer from ams-e1"}
        assert (await client.get("/v1/balancers/ams-e1")).status_code == 503
        assert (await client.get("/v1/balancers/none")).status_code == 404
        for wrong in ("", "?service=3", "?service=0&row=1", "?service=3&row=16384"):
            answer = await client.get(f"/v1/balancers/fra-e1/row{wrong}")
            assert answer.status_code == 400

    serve(story)


def test_a_job_is_run_and_the_node_that_had_it_is_asked_what_it_said() -> None:
    spec = JobSpec(name="backup", run=Run(process=("true",)))

    async def story(cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        async def ask(verb: JobAsk) -> JobReply:
            change = JobChange(verb=verb, name="backup", by="ada")
            answer = await client.post("/v1/jobs", content=encode(change))
            return decode(JobReply, answer.content)

        for news in (True, False):
            answer = await client.post("/v1/apply", content=encode(Change(jobs=(spec,))))
            assert bool(decode(PlanPreview, answer.content).changes) is news
        assert (await client.get("/v1/jobs/backup/logs")).status_code == 404
        assert (await client.get("/v1/jobs/other/logs")).status_code == 404
        run = (await ask(JobAsk.RUN)).run
        assert run is not None
        await cluster.until(lambda: bool(cluster.stored().runs[run.id].node), 30)
        node = cluster.stored().runs[run.id].node
        answer = await client.get("/v1/jobs/backup/logs?lines=7")
        assert decode(LogAnswers, answer.content).logs
        assert glass.looked == [(node, "backup@1", 7, "")]
        glass.silent = {node}
        answer = await client.get("/v1/jobs/backup/logs?run=backup@1")
        assert decode(LogAnswers, answer.content).silent == {node: f"no answer from {node}"}

    serve(story)


def test_an_answer_of_logs_has_a_bound_however_many_nodes_say_much() -> None:
    async def story(cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        await cluster.operations.apply(Change(services=(make_spec(replicas=1),)))
        await cluster.until(lambda: len(cluster.stored().allocations) == 2, 30)
        glass.said = (*("x" * 999 for _ in range(4999)), "newest")
        answer = await client.get("/v1/services/web/logs?lines=5000&ended=true")
        found = decode(LogAnswers, answer.content).logs
        assert len(answer.content) < 9 << 20
        assert [log.lines[-1] for log in found] == ["newest"] * 4
        assert all(len(log.lines) > 2000 for log in found), "each has its share"
        answer = await client.get("/v1/services/web/logs?lines=5000&instance=web.fra.1-1")
        assert decode(LogAnswers, answer.content).logs[0].lines == glass.said

    serve(story)


def test_of_many_nodes_fewer_lines_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LINES_TOGETHER", 20)

    async def story(cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        await cluster.operations.apply(Change(services=(make_spec(replicas=1),)))
        await cluster.until(lambda: len(cluster.stored().allocations) == 2, 30)
        await client.get("/v1/services/web/logs?lines=50")
        await client.get("/v1/services/web/logs?lines=50&instance=web.fra.1-1")
        assert [lines for _, _, lines, _ in glass.looked] == [10, 10, 20]

    serve(story)


def test_logs_are_asked_of_the_nodes_that_have_them() -> None:
    async def story(cluster: Cluster, glass: FakeGlass, client: httpx2.AsyncClient) -> None:
        await cluster.operations.apply(Change(services=(make_spec(replicas=1),)))
        await cluster.until(lambda: len(cluster.stored().allocations) == 2, 30)

        async def ask(query: str) -> LogAnswers:
            answer = await client.get(f"/v1/services/web/logs{query}")
            assert answer.status_code == 200
            return decode(LogAnswers, answer.content)

        found = await ask("?lines=7")
        assert {machine for machine, *_ in glass.looked} == {"fra-n1", "ams-n1"}
        assert glass.looked[0][1:] == ("web", 7, "")
        assert {each.allocation for each in found.logs} == {"web.fra.1-1"}
        both = {"web.fra.1-1", "web.fra.9-9"}
        assert {each.allocation for each in (await ask("?ended=true")).logs} == both
        glass.looked.clear()
        await ask("?instance=web.fra.1-1&after=1.5")
        assert glass.looked == [("fra-n1", "web.fra.1-1", 50, "1.5")]
        glass.looked.clear()
        gone = await ask("?instance=web.ams.7-9")
        assert [machine for machine, *_ in glass.looked] == ["ams-n1"]
        assert [each.allocation for each in gone.logs] == ["web.ams.7-9"]
        glass.silent = {"ams-n1"}
        assert (await ask("")).silent == {"ams-n1": "no answer from ams-n1"}
        for path, status in (
            ("/v1/services/nope/logs", 404),
            ("/v1/services/web/logs?instance=db.fra.1-1", 400),
            ("/v1/services/web/logs?instance=web.fra", 400),
            ("/v1/services/web/logs?instance=web.fra.1", 400),
            ("/v1/services/web/logs?instance=web.fra.1-1&after=here", 400),
            ("/v1/services/web/logs?lines=100000", 400),
        ):
            assert (await client.get(path)).status_code == status

    serve(story)
