"""The API over HTTP (in memory), with a real controller behind it, in virtual time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import httpx2

from pltfrms.api.app import make_app
from pltfrms.api.routes.hiding import HIDDEN
from pltfrms.codec import decode, decode_fully, encode
from pltfrms.controller.records.state import PLATFORM_KEY, commit_mark, service_key, status_key
from pltfrms.drivers.store.ports import Put
from pltfrms.model.messages.api import (
    Change,
    ErrorBody,
    Event,
    Heartbeat,
    HeartbeatReply,
    InterventionChange,
    InterventionReply,
    PlanPreview,
    SnapshotView,
    Verb,
)
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.running.plan import Place, Stop, Target, TargetNews
from pltfrms.model.running.redundancy import Survival
from pltfrms.model.running.state import Contact, MachineStatus
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform, make_spec
from tests.versions import make_rich_status, with_unknown_fields, with_unknown_values

WEB = make_spec()


def serve(story: Callable[[Cluster, httpx2.AsyncClient], Awaitable[None]]) -> None:
    """Run a story against the API of a small cluster."""

    async def run() -> None:
        cluster = Cluster(make_platform({"fra": 3}))
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 5, 10)
        transport = httpx2.ASGITransport(make_app(cluster.operations))
        async with httpx2.AsyncClient(transport=transport, base_url="http://c") as client:
            await asyncio.ensure_future(story(cluster, client))

    run_virtual(run())


def test_a_service_from_plan_to_delete() -> None:
    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        body = encode(Change(services=(WEB,)))
        planned = decode(PlanPreview, (await client.post("/v1/plan", content=body)).content)
        assert [type(step) for step in planned.plan.steps] == [Place, Place]
        assert cluster.stored().services == {}
        applied = decode(PlanPreview, (await client.post("/v1/apply", content=body)).content)
        assert applied.revision > planned.revision
        assert applied.changes == planned.changes
        await cluster.until(lambda: cluster.settled("web"), 10)
        view = decode(SnapshotView, (await client.get("/v1/snapshot")).content)
        assert view.controller == "fra-c1"
        assert len(view.snapshot.allocations) == 2
        answer = await client.delete("/v1/services/web")
        deleted = decode(PlanPreview, answer.content)
        assert [type(step) for step in deleted.plan.steps] == [Stop, Stop]
        await cluster.until(lambda: cluster.serving("web") == [], 10)

    serve(story)


def test_readers_see_no_password_and_an_agent_gets_those_of_its_own_sessions() -> None:
    session = Session(
        edge="fra-e1",
        ours=(ip_interface("203.0.113.1/31"),),
        theirs=(ip_address("203.0.113.0"),),
        interface="x-transit1",
        password="so-secret",  # noqa: S106 - a test's
    )
    plain = replace(session, edge="fra-e2", password="")
    peer = Peer(name="transit1", kind=PeerKind.TRANSIT, asn=64601, sessions=(session, plain))

    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        known = cluster.operations.snapshot().snapshot.platform
        second = replace(known.machine("fra-e1"), name="fra-e2", id=2)
        secret = replace(known, peers=(peer,), machines=(*known.machines, second))
        await cluster.operations.controller.store.commit(
            [Put(key=PLATFORM_KEY, value=encode(secret)), commit_mark("test", 0)]
        )
        await cluster.clock.sleep(1)
        text = (await client.get("/v1/snapshot")).text
        assert "so-secret" not in text
        platform = decode(SnapshotView, text.encode()).snapshot.platform
        hidden = replace(peer, sessions=(replace(session, password=HIDDEN), plain))
        assert platform == replace(secret, peers=(hidden,))
        answer = await client.get("/v1/targets/fra-e1?after=0")
        assert decode(Target, answer.content).platform == secret
        assert "so-secret" not in (await client.get("/v1/targets/fra-n1?after=0")).text

    serve(story)


def test_agents_are_answered() -> None:
    async def story(_cluster: Cluster, client: httpx2.AsyncClient) -> None:
        beat = Heartbeat(status=MachineStatus(machine="fra-n1"))
        answer = await client.post("/v1/heartbeats", content=encode(beat))
        reply = decode(HeartbeatReply, answer.content)
        answer = await client.get("/v1/targets/fra-n1?after=0")
        target = decode(Target, answer.content)
        assert (target.machine, target.generation) == ("fra-n1", reply.generation)
        answer = await client.get(f"/v1/targets/fra-n1?after={target.generation}&wait_ms=100")
        assert (answer.status_code, answer.content) == (204, b"")
        answer = await client.get("/v1/targets/fra-n1?after=0&made_of=&platform=0")
        whole = decode_fully(TargetNews, answer.content)
        assert (whole.made_of, whole.platform) == (reply.made_of, target.platform)
        has = f"after=0&platform={whole.platform_revision}"
        answer = await client.get(f"/v1/targets/fra-n1?{has}&made_of={whole.made_of}")
        assert answer.status_code == 204
        answer = await client.get(f"/v1/targets/fra-n1?{has}&made_of=older")
        assert len(answer.content) < len(encode(target)) / 2
        assert decode_fully(TargetNews, answer.content) == replace(whole, platform=None)
        events = decode(list[Event], (await client.get("/v1/events?limit=3")).content)
        assert events[0].what == "machine in contact"
        last = events[-1].sequence
        later = decode(list[Event], (await client.get(f"/v1/events?after={last}")).content)
        assert all(event.sequence > last for event in later)

    serve(story)


def test_interventions_are_taken_and_told_as_metrics() -> None:
    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        change = InterventionChange(verb=Verb.FREEZE, why="flaps", by="ada")
        dry = encode(replace(change, dry_run=True))
        answer = await client.post("/v1/interventions", content=dry)
        assert decode(InterventionReply, answer.content).changed
        assert cluster.stored().interventions.freeze is None
        answer = await client.post("/v1/interventions", content=encode(change))
        reply = decode(InterventionReply, answer.content)
        assert (reply.changed, reply.interventions.freeze is not None) == (True, True)
        await cluster.clock.sleep(1)
        view = decode(SnapshotView, (await client.get("/v1/snapshot")).content)
        assert view.snapshot.interventions == reply.interventions
        assert "pltfrms_frozen 1.0" in (await client.get("/metrics")).text
        unknown = encode(InterventionChange(verb=Verb.DRAIN, peer="transit9"))
        assert (await client.post("/v1/interventions", content=unknown)).status_code == 404
        empty = encode(InterventionChange(verb=Verb.DRAIN))
        assert (await client.post("/v1/interventions", content=empty)).status_code == 400

    serve(story)


def test_errors_say_what_is_wrong() -> None:
    async def story(_cluster: Cluster, client: httpx2.AsyncClient) -> None:
        async def said(method: str, path: str, body: bytes = b"") -> tuple[int, str, str]:
            answer = await client.request(method, path, content=body)
            error = decode(ErrorBody, answer.content)
            return answer.status_code, error.error, error.message

        assert (await said("POST", "/v1/apply", b"{"))[:2] == (400, "UsageError")
        assert (await said("GET", "/v1/targets/nobody"))[:2] == (404, "NotFoundError")
        assert (await said("GET", "/v1/targets/fra-n1?after=x"))[:2] == (400, "UsageError")
        assert (await said("GET", "/nothing"))[:2] == (404, "NotFoundError")
        assert (await said("DELETE", "/v1/services/web"))[:2] == (404, "NotFoundError")
        stale = encode(Change(services=(WEB,), revision=1))
        assert (await said("POST", "/v1/apply", stale))[:2] == (409, "ConflictError")
        wrong = encode(Change(services=(replace(WEB, per_datacenter=0),)))
        status, kind, message = await said("POST", "/v1/apply", wrong)
        assert (status, kind) == (422, "SpecError")
        assert message.startswith("service/web:0: replicas.per_datacenter")
        large = b" " * (4 * 1024 * 1024 + 1)
        assert (await said("POST", "/v1/plan", large))[:2] == (413, "UsageError")

    serve(story)


def test_without_the_store_a_change_says_that_nothing_was_done() -> None:
    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        async def said() -> ErrorBody:
            answer = await client.post("/v1/apply", content=encode(Change(services=(WEB,))))
            assert answer.status_code == 503
            return decode(ErrorBody, answer.content)

        store = cluster.seats["fra-c1"].store
        store.unavailable = True
        assert (await said()).nothing_done
        store.unavailable = False
        store.unknown_outcome = lambda: True
        unclear = await said()
        assert (unclear.error, unclear.nothing_done) == ("UnavailableError", False)

    serve(story)


def test_a_machine_of_the_next_release_is_heard_and_how_it_is_is_kept_as_it_says_it() -> None:
    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        cluster.agents["fra-n1"].dead = True
        await cluster.until(lambda: "fra-n1" not in cluster.stored().leases, 20)
        event = Event(at_ms=1, source="fra-n1", about="machine/fra-n1", what="agent started")
        beat = Heartbeat(status=make_rich_status("fra-n1"), events=(event,))
        key = status_key("fra-n1")
        for name, text in with_unknown_values(beat):
            answer = await client.post("/v1/heartbeats", content=text)
            assert answer.status_code == 200, (name, answer.text)
            assert decode(HeartbeatReply, answer.content).generation > 0
            (entry,) = cluster.state.list(key).entries
            assert json.loads(entry.value) == json.loads(text)["status"]
            await client.post("/v1/heartbeats", content=text.replace(encode(event), b""))
            assert cluster.state.list(key).entries == (entry,)
        assert "fra-n1" in cluster.stored().leases
        events = await cluster.operations.events(0, 0, 1000)
        assert "agent started" in {each.what for each in events}
        nameless = await client.post("/v1/heartbeats", content=b'{"status": {}}')
        assert nameless.status_code == 400

    serve(story)


def test_an_operator_of_the_next_release_is_told_what_would_not_be_done() -> None:
    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        asked: tuple[tuple[str, object], ...] = (
            ("/v1/apply", Change(services=(WEB,))),
            ("/v1/plan", Change(services=(WEB,))),
            ("/v1/interventions", InterventionChange(verb=Verb.FREEZE)),
        )
        before = cluster.stored().commit
        for path, word in asked:
            for name, text in (*with_unknown_fields(word), *with_unknown_values(word)):
                answer = await client.post(path, content=text)
                assert answer.status_code == 400, (path, name)
                assert "of_the_next_release" in answer.text or "should be" in answer.text
        assert cluster.stored().commit == before

    serve(story)


def test_who_decides_nothing_is_alive_and_not_ready() -> None:
    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        await cluster.clock.sleep(3)
        for path in ("/healthz", "/readyz"):
            answer = await client.get(path)
            assert (answer.status_code, answer.text) == (200, "ok\n")
        assert "pltfrms_deciding 1.0" in (await client.get("/metrics")).text
        poison = service_key("bad")
        cluster.state.commit((Put(key=poison, value=b"{"),), ())
        await cluster.clock.sleep(3)
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
        assert (alive.status_code, ready.status_code) == (200, 503)
        assert all("decides nothing" in a.text and poison in a.text for a in (alive, ready))
        assert "pltfrms_deciding 0.0" in (await client.get("/metrics")).text

    serve(story)


def test_health_and_metrics_tell_when_the_store_is_away() -> None:
    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        await client.post(
            "/v1/apply", content=encode(Change(services=(replace(WEB, ports=("80/tcp",)),)))
        )
        await cluster.until(lambda: cluster.settled("web"), 10)
        await cluster.clock.sleep(3)
        assert (await client.get("/healthz")).status_code == 200
        text = (await client.get("/metrics")).text
        for line in (
            'pltfrms_steps_total{reason="new-replica"} 2.0',
            'pltfrms_machines{contact="present"} 5.0',
            'pltfrms_instances{phase="ready"} 2.0',
            'pltfrms_refused_packets{service="web",why="not-declared"} 0.0',
            "pltfrms_store_up 1.0",
            "pltfrms_controllers 1.0",
            'pltfrms_redundancy{survival="not survived"} 1.0',
            'pltfrms_redundancy{survival="survived"} 0.0',
            'pltfrms_weaknesses{loss="controller",of="store",survival="not survived"} 1.0',
        ):
            assert line in text
        view = decode(SnapshotView, (await client.get("/v1/snapshot")).content)
        assert view.redundancy is not None
        assert view.redundancy.by_subject["store"] is Survival.NOT_SURVIVED
        cluster.seats["fra-c1"].store.unavailable = True
        await cluster.clock.sleep(6)
        began = cluster.clock.monotonic()
        for path in ("/healthz", "/readyz", "/v1/snapshot", "/v1/targets/fra-n1", "/v1/events"):
            assert (await client.get(path)).status_code == 503
        assert cluster.clock.monotonic() - began < 1
        old = decode(SnapshotView, (await client.get("/v1/snapshot?stale=true")).content)
        assert old.stale_seconds >= 5
        assert old.redundancy is not None
        assert "web" in old.snapshot.services
        assert old.snapshot.contact("fra-n1") is Contact.UNKNOWN
        assert old.last_known.contact("fra-n1") is Contact.PRESENT
        assert "pltfrms_store_up 0.0" in (await client.get("/metrics")).text

    serve(story)
