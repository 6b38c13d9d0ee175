"""The API by TLS, over loopback: who is let in, who is refused, and how both sides say so."""

import asyncio
import contextlib
import errno
import json
import os
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import httpx2
import pytest
import structlog

from pltfrms.agent.control.certificate import Certificate, Makers
from pltfrms.codec import decode, encode
from pltfrms.controller.asked import own_identity
from pltfrms.controller.records.state import PLATFORM_KEY, SIGNERS, commit_mark
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.controlplane.agent_client import HttpControlPlane
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.drivers.identity.keys import sign_text
from pltfrms.drivers.identity.tls import (
    client_context,
    doubting_context,
    server_context,
    shown_by,
)
from pltfrms.drivers.sealing import NodeKey
from pltfrms.drivers.store.ports import Gateway, Put
from pltfrms.errors import UnavailableError
from pltfrms.model.identity.lives import DAY_MS
from pltfrms.model.identity.words import (
    Certified,
    SigningNote,
    controllers_server_name,
    machine_server_name,
)
from pltfrms.model.messages.api import Event, Heartbeat, LeasesAsk
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import MachineStatus
from tests.api.door import PLATFORM, Door, believing, serve
from tests.drivers.identity.authority import Office


def beat(machine: str = "fra-n1", source: str = "") -> Heartbeat:
    event = Event(at_ms=1, source=source, about=f"machine/{machine}", what="agent started")
    events = (event,) if source else ()
    return Heartbeat(status=MachineStatus(machine=machine), events=events)


def current(machine: str = "fra-n1") -> Target:
    return Target(machine=machine, generation=0, platform=PLATFORM)


def test_a_machine_that_has_joined_reports_and_gets_its_target(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        agent = door.agent(await door.join("fra-n1"))
        assert (await agent.heartbeat(beat(source="fra-n1"))).controller == "fra-c1"
        target = await agent.target(current(), 0, 0)
        assert target
        assert target.machine == "fra-n1"
        await agent.close()

    serve(tmp_path, story)


def test_a_machine_speaks_of_itself_alone(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        agent = door.agent(await door.join("fra-n1"))
        with structlog.testing.capture_logs() as logs:
            with pytest.raises(UnavailableError, match="may not speak as fra-n2"):
                await agent.heartbeat(beat("fra-n2"))
            with pytest.raises(UnavailableError, match="may not speak as fra-c1"):
                await agent.heartbeat(beat(source="fra-c1"))
            with pytest.raises(UnavailableError, match="may see its own target"):
                await agent.target(current("fra-n2"), 0, 0)
            with pytest.raises(UnavailableError, match="may not speak as fra-n3"):
                await agent.leases(LeasesAsk(machine="fra-n3", allocation="db.fra.1-1"))
        assert [line["machine"] for line in logs if line["event"] == "refused"] == 4 * [
            "fra-n1"
        ]
        assert "fra-n2" not in door.controller.view.last_stored().statuses
        await agent.close()

    serve(tmp_path, story, gateway=cast("Gateway", object()))


def test_a_stolen_certificate_of_a_machine_changes_and_reads_nothing(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        context = client_context(await door.join("fra-n1"), believing)
        own = NodeKey(tmp_path)
        own.make()
        before = door.controller.view.last_stored().commit
        for method, path in (
            ("POST", "/v1/apply"),
            ("POST", "/v1/interventions"),
            ("DELETE", "/v1/services/web"),
            ("GET", "/v1/snapshot"),
            ("GET", "/v1/events"),
            ("GET", "/metrics"),
            ("GET", "/v1/prometheus/targets"),
            ("GET", "/openapi.json"),
            ("POST", "/v1/identity/tokens"),
            ("GET", "/v1/identity/store"),
            ("GET", "/v1/identity/secrets"),
            ("GET", "/v1/secrets"),
            ("POST", "/v1/secrets"),
            ("DELETE", "/v1/secrets/db"),
            ("POST", "/v1/secrets-key"),
            ("GET", "/v1/targets/fra-n2"),
            # What another machine has, and secrets of it, sealed to a key of one's own.
            ("GET", f"/v1/targets/fra-n2?after=0&wait_ms=0&key={own.public}"),
            ("GET", "/v1/targets/%66ra-n2"),
            ("GET", "/v1/targets/fra-n1%2F..%2Ffra-n2"),
            ("GET", "//v1/snapshot"),
        ):
            answer = await door.ask(context, method, path, b"{}")
            assert (answer.status_code, path) == (403, path)
            assert json.loads(answer.content)["error"] == "ForbiddenError"
        assert door.controller.view.last_stored().commit == before

    serve(tmp_path, story)


def test_who_shows_no_certificate_is_refused_in_words(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        stranger = door.agent(door.file, stranger=True)
        with (
            structlog.testing.capture_logs() as logs,
            pytest.raises(UnavailableError, match="it shows no certificate"),
        ):
            await stranger.heartbeat(beat())
        assert "no certificate" in next(each["why"] for each in logs)
        answer = await door.ask(doubting_context(), "GET", "/healthz")
        assert answer.status_code == 200
        await stranger.close()

    serve(tmp_path, story)


def test_a_certificate_of_another_authority_is_refused_on_both_sides(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        other = Office(PLATFORM.name, door.now_ms)
        file = other.identity(tmp_path / "other", "fra-n1")
        agent = door.agent(file)
        with pytest.raises(UnavailableError, match="unable to get local issuer"):
            await agent.heartbeat(beat())
        context = doubting_context()
        context.load_cert_chain(file.path)
        with structlog.testing.capture_logs() as logs, pytest.raises(httpx2.TransportError):
            await door.ask(context, "GET", "/healthz")
        assert "certificate refused" in [each["event"] for each in logs]
        await agent.close()

    serve(tmp_path, story)


def test_an_expired_certificate_is_refused_and_its_machine_comes_back_by_its_key(
    tmp_path: Path,
) -> None:
    async def story(door: Door) -> None:
        file = await door.join("fra-n1")
        old = door.signed_at(door.now_ms - 31 * DAY_MS, file)
        file.renew(old, door.now_ms)
        agent, stranger = door.agent(file), door.agent(file, stranger=True)
        with (
            structlog.testing.capture_logs() as logs,
            pytest.raises(UnavailableError, match="perhaps it refuses our certificate"),
        ):
            await agent.heartbeat(beat())
        assert "certificate has expired" in [each.get("why") for each in logs]
        agents: list[HttpControlPlane] = []

        def follow() -> None:
            agents.append(door.agent(file))

        certificate = Certificate(
            file, SystemClock(), Makers(known=agent, stranger=stranger), _signed, follow
        )
        await certificate.look()
        assert file.read().not_after_ms > door.now_ms + 29 * DAY_MS
        await agents[0].heartbeat(beat())
        for each in (agent, stranger, *agents):
            await each.close()

    serve(tmp_path, story)


def test_a_certificate_that_is_a_third_of_its_life_old_is_renewed_by_itself(
    tmp_path: Path,
) -> None:
    async def story(door: Door) -> None:
        file = await door.join("fra-n1")
        file.renew(door.signed_at(door.now_ms - 25 * DAY_MS, file), door.now_ms)
        before = file.read().not_after_ms
        agent = door.agent(file)
        certificate = Certificate(
            file, SystemClock(), Makers(known=agent, stranger=agent), _signed, lambda: None
        )
        await certificate.look()
        assert file.read().not_after_ms > before + 20 * DAY_MS
        unchanged = file.changed_at()
        await certificate.look()
        assert file.changed_at() == unchanged
        await agent.close()

    serve(tmp_path, story)


async def _signed(key: str, text: str) -> str:
    return sign_text(key, text)


def test_a_certificate_opens_nothing_after_its_machine_was_removed(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        agent = door.agent(await door.join("fra-n1"))
        await agent.heartbeat(beat())
        rest = tuple(each for each in PLATFORM.machines if each.name != "fra-n1")
        less = replace(PLATFORM, machines=rest)
        await door.store.commit(
            [Put(key=PLATFORM_KEY, value=encode(less)), commit_mark("t", 0)]
        )
        await door.seen()
        with pytest.raises(UnavailableError, match="has no machine fra-n1 any more"):
            await agent.heartbeat(beat())
        await agent.close()

    serve(tmp_path, story)


def test_to_join_again_shuts_out_the_older_certificate_on_open_connections(
    tmp_path: Path,
) -> None:
    async def story(door: Door) -> None:
        agent = door.agent(await door.join("fra-n1"))
        await agent.heartbeat(beat())
        newer = door.agent(await door.join("fra-n1"))
        with pytest.raises(UnavailableError, match="has joined again"):
            await agent.heartbeat(beat())
        await newer.heartbeat(beat())
        await agent.close()
        await newer.close()

    serve(tmp_path, story)


def test_a_machine_that_answers_as_a_controller_is_not_believed(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        agent = door.agent(await door.join("fra-n1"), name="fra-c2")
        with pytest.raises(UnavailableError, match="not accepted here: Hostname mismatch"):
            await agent.heartbeat(beat())
        await agent.close()

    serve(tmp_path, story)


def test_a_machine_that_is_called_as_its_host_is_answers_by_that_name(tmp_path: Path) -> None:
    name = "Node-7.rack3.-x.fra.example.net"
    office = Office(PLATFORM.name, time.time_ns() // 1_000_000)
    file = office.identity(tmp_path, name)
    server = server_context(file, lambda _why: None, required=True)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(repr(shown_by(writer.get_extra_info("ssl_object"))).encode())
        writer.close()

    async def run() -> bytes:
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server) as serving:
            reader, writer = await asyncio.open_connection(
                *serving.sockets[0].getsockname()[:2],
                ssl=client_context(file, lambda _shown: ""),
                server_hostname=machine_server_name(PLATFORM.name, name),
            )
            text = await reader.read()
            writer.close()
            return text

    assert name.encode() in asyncio.run(run())


@pytest.mark.parametrize("name", ["fra-n1", "fra-c1"])
def test_what_a_removed_controller_signs_opens_nothing(tmp_path: Path, name: str) -> None:
    """Its authority is good for a year, and would sign any name, for any key."""

    async def story(door: Door) -> None:
        await door.join("fra-n1")
        await door.known.own.look()
        await door.seen()
        forged = door.forged(name, "fra-c9")
        context = client_context(forged, believing)
        for method, path in (
            ("POST", "/v1/heartbeats"),
            ("GET", f"/v1/targets/{name}"),
            ("GET", "/v1/snapshot"),
            ("POST", "/v1/apply"),
            ("POST", "/v1/identity/tokens"),
            ("POST", "/v1/identity/renewal"),
        ):
            answer = await door.ask(context, method, path, b"{}")
            assert (answer.status_code, path) == (403, path)
            assert "with another key" in answer.text

    serve(tmp_path, story)


def test_a_removed_controller_answers_nobody_as_one(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        agent_file = await door.join("fra-n1")
        door.show(door.forged("fra-c1", "fra-c9"))
        why = "signed by 'fra-c9 authority', which is of no controller of"
        agent = door.agent(agent_file)
        with pytest.raises(UnavailableError, match=why):
            await agent.heartbeat(beat())
        context = client_context(door.file, believing)
        name = controllers_server_name(PLATFORM.name)

        def ask() -> None:
            shaking = lambda sock: context.wrap_socket(sock, server_hostname=name)  # noqa: E731
            with OperatorClient([door.url], tls=shaking) as client:
                client.snapshot()

        with pytest.raises(UnavailableError, match=why):
            await asyncio.to_thread(ask)
        door.show(door.file)
        await agent.heartbeat(beat())
        await agent.close()

    serve(tmp_path, story)


def test_who_was_believed_shows_its_certificate_anew_when_controllers_change(
    tmp_path: Path,
) -> None:
    """A connection that is kept would outlive whoever signed for its other end."""

    async def story(door: Door) -> None:
        agent = door.agent(await door.join("fra-n1"))
        await agent.heartbeat(beat())
        ends = agent._ends
        door.show(door.forged("fra-c1", "fra-c9"))
        await agent.heartbeat(beat())
        agent.use([door.url], ends)
        await agent.heartbeat(beat())
        agent.use([door.url, "https://[::1]:1"], ends)
        with pytest.raises(UnavailableError, match="signed by 'fra-c9 authority'"):
            await agent.heartbeat(beat())
        await agent.close()

    serve(tmp_path, story)


def test_a_controller_asks_no_machine_that_a_removed_one_has_signed(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        good, forged = await door.join("fra-n1"), door.forged("fra-n1", "fra-c9")
        for file, told in ((good, "hello"), (forged, "with another key")):
            context = server_context(file, lambda _why: None, required=True)
            assert told in await heard(door, context)

    async def heard(door: Door, context: ssl.SSLContext) -> str:
        def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
            end = door.known.end("fra-n1")
            try:
                reader, writer = await asyncio.open_connection(
                    *server.sockets[0].getsockname()[:2],
                    ssl=end.context,
                    server_hostname=end.name,
                )
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            text = await reader.read()
            writer.close()
            return text.decode()

    serve(tmp_path, story)


def test_a_controller_that_a_removed_one_has_signed_signs_for_itself(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        door.file.renew(door.signed_at(door.now_ms, door.file, "fra-c9"), door.now_ms)
        await door.known.own.look()
        assert door.file.issuer() == "fra-c1 authority"

    serve(tmp_path, story)


def test_a_controller_tells_until_when_it_can_sign(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        await door.known.own.look()
        await door.seen()
        await door.known.own.look()
        (told,) = (await door.store.list(SIGNERS)).entries
        assert door.known.own._signer.life
        until_ms = door.known.own._signer.life.not_after_ms
        note = decode(SigningNote, told.value)
        assert (note.controller, note.until_ms) == ("fra-c1", until_ms)
        assert note.root == door.known.own._signer.pin

    serve(tmp_path, story)


def test_who_comes_by_the_local_socket_may_do_all(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        def local() -> str:
            with OperatorClient([f"unix:{door.directory / 'c.sock'}"]) as client:
                return client.snapshot().controller

        assert await asyncio.to_thread(local) == "fra-c1"

    serve(tmp_path, story)


def test_an_operator_on_a_controller_asks_by_tls(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        context = client_context(door.file, believing)
        name = controllers_server_name(PLATFORM.name)

        def ask() -> str:
            shaking = lambda sock: context.wrap_socket(sock, server_hostname=name)  # noqa: E731
            with OperatorClient([door.url], tls=shaking) as client:
                return client.snapshot().controller

        assert await asyncio.to_thread(ask) == "fra-c1"

    serve(tmp_path, story)


def test_a_controller_that_was_away_for_two_months_signs_for_itself(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        file = await door.join("fra-n1")
        door.file.renew(door.signed_at(door.now_ms - 60 * DAY_MS, door.file), door.now_ms)
        agent = door.agent(file)
        await door.known.own.look()
        assert door.file.read().not_after_ms > door.now_ms
        await agent.heartbeat(beat())
        await agent.close()

    serve(tmp_path, story)


def test_a_controller_whose_clock_was_ahead_makes_its_certificate_anew(tmp_path: Path) -> None:
    """One that is not good yet is refused by everybody, and due in weeks only."""

    async def story(door: Door) -> None:
        await door.known.own.look()
        door.file.renew(door.signed_at(door.now_ms + 12 * DAY_MS, door.file), door.now_ms)
        assert not door.file.read().life.holds(door.now_ms)
        await door.known.own.look()
        assert door.file.read().life.holds(door.now_ms)

    serve(tmp_path, story)


def test_a_controller_whose_disk_refuses_says_so_once_and_answers_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        agent = door.agent(await door.join("fra-n1"))
        own = door.known.own

        def refuse(_made: Certified, _now_ms: int) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        door.file.renew(door.signed_at(door.now_ms - 25 * DAY_MS, door.file), door.now_ms)
        monkeypatch.setattr(door.file, "renew", refuse)
        monkeypatch.setattr(own_identity, "SOON_SECONDS", 0.01)
        with structlog.testing.capture_logs() as logs, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await own.run()
        said = [each for each in logs if each["event"] == "own certificate"]
        assert [each["problem"] for each in said] == ["[Errno 30] Read-only file system"]
        await agent.heartbeat(beat())
        await agent.close()

    serve(tmp_path, story)


def test_a_younger_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        async def serial() -> int:
            context = client_context(door.file, believing, stranger=True)
            name = controllers_server_name(PLATFORM.name)
            _, writer = await asyncio.open_connection(
                "127.0.0.1", door.port, ssl=context, server_hostname=name
            )
            certificate = writer.get_extra_info("peercert")
            writer.close()
            return int(certificate["serialNumber"], 16)

        before = await serial()
        own = door.file.read()
        made = door.office.signer.issue(own.request, "fra-c1", 1, controller=True)
        door.file.renew(made, door.now_ms)
        os.utime(door.file.path, ns=(1, 1))
        await door.known.own.look()
        assert await serial() != before

    serve(tmp_path, story)
