"""The clients of the controllers: fail over, keep to who answers, say what went wrong."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar

import pytest

from pltfrms import codec
from pltfrms.drivers.controlplane import agent_client
from pltfrms.drivers.controlplane.agent_client import HttpControlPlane
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
    PltfrmsError,
    UnavailableError,
    UnclearError,
    UsageError,
    VersionError,
)
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
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Plan, Target
from pltfrms.model.running.state import MachineStatus, Snapshot
from tests.contracts.etcd import free_ports
from tests.drivers.tiny_http import DROP, HANG, Answer, Seen, serving
from tests.versions import intent, with_unknown_fields, with_unknown_values

_T = TypeVar("_T")

PLATFORM = Platform(
    name="example",
    asn=64500,
    aggregates=(),
    infrastructure4=IPv4Network("10.0.0.0/8"),
    infrastructure6=IPv6Network("fd00::/48"),
    datacenters=(),
    machines=(),
)
HEARTBEAT = Heartbeat(status=MachineStatus(machine="fra-n1"))
TARGET = Target(machine="fra-n1", generation=7, platform=PLATFORM)
CURRENT = replace(TARGET, generation=6, made_of="abc", platform_revision=5)
RICH_TARGET = Target(
    machine="fra-n1",
    generation=7,
    platform=intent()[0],
    interventions=intent()[1],
    services=(intent()[2],),
    allocations=(intent()[3],),
)
PREVIEW = PlanPreview(revision=5, changes=(), plan=Plan(revision=5))
EVENT = Event(sequence=9, at_ms=1, source="fra-n1", about="web.fra.1-1", what="instance ready")


def _dead() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


def _error(kind: type[PltfrmsError], message: str, name: str = "") -> Answer:
    sure = kind is not UnclearError
    body = ErrorBody(error=name or kind.__name__, message=message, nothing_done=sure)
    return Answer(status=kind.status_code, body=codec.encode(body))


def _with_agent(urls: list[str], scenario: Callable[[HttpControlPlane], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        client = HttpControlPlane(urls)
        try:
            return await scenario(client)
        finally:
            await client.close()

    return asyncio.run(run())


# ---- agents --------------------------------------------------------------------------------


def test_an_agent_goes_to_the_next_controller_and_stays_there() -> None:
    reply = HeartbeatReply(generation=3)
    with ExitStack() as stack:
        bad = [
            stack.enter_context(serving(answer))
            for answer in (
                DROP,
                _error(UnavailableError, "no store"),
                _error(NotFoundError, "?"),
            )
        ]
        good = stack.enter_context(serving(codec.encode(reply)))

        async def scenario(client: HttpControlPlane) -> None:
            assert await client.heartbeat(HEARTBEAT) == reply
            asked = [len(one.seen) for one in bad]
            assert await client.heartbeat(HEARTBEAT) == reply
            assert [len(one.seen) for one in bad] == asked

        _with_agent([_dead(), *(one.endpoint for one in bad), good.endpoint], scenario)
        assert good.seen == [Seen("POST", "/v1/heartbeats", codec.encode(HEARTBEAT))] * 2


def test_a_hung_controller_costs_an_agent_one_short_wait() -> None:
    reply = HeartbeatReply(generation=3)
    with serving(HANG) as hung, serving(codec.encode(reply)) as good:

        async def scenario(client: HttpControlPlane) -> float:
            began = time.monotonic()
            await client.heartbeat(HEARTBEAT)
            return time.monotonic() - began

        assert _with_agent([hung.endpoint, good.endpoint], scenario) < 2.5


def test_an_agent_returns_to_the_nearest_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_client, "_HOME_AFTER_SECONDS", 0.2)
    reply = codec.encode(HeartbeatReply(generation=3))
    with serving(DROP) as near, serving(reply) as far:

        async def scenario(client: HttpControlPlane) -> None:
            await client.heartbeat(HEARTBEAT)
            near.answer = Answer(body=reply)
            await client.heartbeat(HEARTBEAT)
            await asyncio.sleep(0.25)
            await client.heartbeat(HEARTBEAT)
            await client.heartbeat(HEARTBEAT)

        _with_agent([near.endpoint, far.endpoint], scenario)
        assert (len(near.seen), len(far.seen)) == (3, 2)


def test_targets_are_fetched_with_generation_and_wait() -> None:
    with serving(codec.encode(TARGET)) as server:

        async def scenario(client: HttpControlPlane) -> None:
            assert await client.target(CURRENT, after=6, wait_ms=500) == TARGET
            server.answer = Answer(status=204)
            assert await client.target(TARGET, after=7, wait_ms=0) is None

        _with_agent([server.endpoint], scenario)
        assert [seen.target for seen in server.seen] == [
            "/v1/targets/fra-n1?after=6&wait_ms=500&made_of=abc&platform=5",
            "/v1/targets/fra-n1?after=7&wait_ms=0&made_of=&platform=0",
        ]


def test_a_platform_that_the_agent_has_need_not_travel() -> None:
    newer = replace(CURRENT, generation=7, made_of="def")
    news = newer.news(CURRENT.platform_revision)
    assert news.platform is None
    with serving(codec.encode(news)) as server:

        async def scenario(client: HttpControlPlane) -> None:
            assert await client.target(CURRENT, 6, 0) == newer

        _with_agent([server.endpoint], scenario)


def test_a_target_without_a_platform_that_the_agent_has_not_got_is_not_taken() -> None:
    other = replace(CURRENT, generation=7, platform_revision=6).news(6)
    with (
        serving(codec.encode(other)) as server,
        pytest.raises(VersionError, match="without its platform"),
    ):
        _with_agent([server.endpoint], lambda client: client.target(CURRENT, 6, 0))


def test_an_agent_without_any_controller_gets_told_what_each_said() -> None:
    dead = _dead()
    with serving(_error(InvariantError, "a bug")) as buggy:
        with pytest.raises(UnavailableError, match="a bug") as caught:
            _with_agent([dead, buggy.endpoint], lambda client: client.heartbeat(HEARTBEAT))
        assert dead in str(caught.value)


def test_an_answer_of_another_version_is_not_an_answer() -> None:
    with (
        serving(b"[]") as strange,
        pytest.raises(UnavailableError, match="same version"),
    ):
        _with_agent([strange.endpoint], lambda client: client.heartbeat(HEARTBEAT))


@pytest.mark.parametrize(
    "newer", [*with_unknown_fields(RICH_TARGET), *with_unknown_values(RICH_TARGET)]
)
def test_a_target_of_the_next_release_is_not_taken_for_one_that_says_less(
    newer: tuple[str, bytes],
) -> None:
    _, text = newer
    with serving(text) as next_release, serving(codec.encode(TARGET)) as ours:

        async def scenario(client: HttpControlPlane) -> Target | None:
            return await client.target(CURRENT, 6, 0)

        with pytest.raises(VersionError, match="same version"):
            _with_agent([next_release.endpoint, _dead()], scenario)
        assert _with_agent([next_release.endpoint, ours.endpoint], scenario) == TARGET


def test_a_reply_of_the_next_release_is_an_answer() -> None:
    reply = HeartbeatReply(generation=3)
    for _, text in with_unknown_fields(reply):
        with serving(text) as server:
            said = _with_agent([server.endpoint], lambda client: client.heartbeat(HEARTBEAT))
        assert said == reply


# ---- the operator --------------------------------------------------------------------------


def test_the_operator_asks_over_a_unix_socket(tmp_path: Path) -> None:
    view = SnapshotView(controller="fra-c1", snapshot=Snapshot(revision=5, platform=PLATFORM))
    path = str(tmp_path / "controller.sock")
    stale = str(tmp_path / "stale.sock")
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(stale)
    absent = str(tmp_path / "absent.sock")
    with (
        serving(codec.encode(view), unix=path) as server,
        OperatorClient([f"unix:{absent}", f"unix:{stale}", server.endpoint]) as client,
    ):
        assert client.snapshot() == view
        server.answer = Answer(body=codec.encode([EVENT], list[Event]))
        assert client.events(after=8, wait_ms=10, limit=3) == [EVENT]
        assert [seen.target for seen in server.seen] == [
            "/v1/snapshot?stale=true",
            "/v1/events?after=8&wait_ms=10&limit=3",
        ]


def test_changes_travel_whole() -> None:
    change = Change(platform=PLATFORM, revision=4)
    with serving(codec.encode(PREVIEW)) as server, OperatorClient([server.endpoint]) as client:
        assert client.plan(change) == PREVIEW
        assert client.apply(change) == PREVIEW
        assert client.delete_service("a/b") == PREVIEW
    assert [(seen.method, seen.target) for seen in server.seen] == [
        ("POST", "/v1/plan"),
        ("POST", "/v1/apply"),
        ("DELETE", "/v1/services/a%2Fb"),
    ]
    assert codec.decode(Change, server.seen[1].body) == change


def test_interventions_travel_whole_and_a_dry_run_is_no_write() -> None:
    change = InterventionChange(verb=Verb.DRAIN, peer="transit1", despite=(Guard.HEADROOM,))
    reply = InterventionReply(revision=8, changed=True, interventions=Interventions())
    conflict = _error(ConflictError, "guards forbid it")
    with serving(codec.encode(reply)) as server, OperatorClient([server.endpoint]) as client:
        assert client.intervene(change) == reply
        assert server.seen == [Seen("POST", "/v1/interventions", codec.encode(change))]
    with (
        serving(DROP) as first,
        serving(conflict) as second,
        OperatorClient([first.endpoint, second.endpoint]) as client,
    ):
        with pytest.raises(UnavailableError, match="perhaps did it"):
            client.intervene(change)
        with pytest.raises(ConflictError):
            client.intervene(replace(change, dry_run=True))


@pytest.mark.parametrize("kind", [UsageError, NotFoundError, ConflictError, InvariantError])
def test_errors_are_raised_again_and_the_next_is_not_asked(kind: type[PltfrmsError]) -> None:
    with serving(_error(kind, "because")) as first, serving(b"{}") as second:
        with (
            OperatorClient([first.endpoint, second.endpoint]) as client,
            pytest.raises(kind, match="because") as caught,
        ):
            client.apply(Change())
        assert type(caught.value) is kind
        assert second.seen == []


def test_a_spec_error_arrives_as_usage_error_and_strange_answers_as_bugs() -> None:
    with (
        serving(_error(UsageError, "f:1: bad", name="SpecError")) as server,
        OperatorClient([server.endpoint]) as client,
    ):
        with pytest.raises(UsageError, match="f:1: bad"):
            client.plan(Change())
        for strange in (b'{"detail": "Not Found"}', b'{"error": "Path", "message": "m"}'):
            server.answer = Answer(status=404, body=strange)
            with pytest.raises(InvariantError):
                client.plan(Change())


def test_an_unavailable_controller_is_passed_over() -> None:
    with (
        serving(_error(UnavailableError, "no store")) as first,
        serving(Answer(status=502, body=b"<html>")) as second,
        serving(codec.encode(PREVIEW)) as third,
        OperatorClient([first.endpoint, second.endpoint, third.endpoint]) as client,
    ):
        assert client.apply(Change()) == PREVIEW


def test_no_controller_at_all_names_them_and_what_to_do() -> None:
    dead = _dead()
    with (
        serving(_error(UnavailableError, "no store")) as first,
        OperatorClient([first.endpoint, dead], patience_seconds=0) as client,
    ):
        with pytest.raises(UnavailableError, match="Check that a controller runs") as caught:
            client.snapshot()
        assert "no store" in str(caught.value)
        assert dead in str(caught.value)
        assert "may or may not" not in str(caught.value)


def _failure(client: OperatorClient) -> UnavailableError:
    with pytest.raises(UnavailableError) as caught:
        client.apply(Change())
    return caught.value


def test_a_write_that_no_controller_did_is_not_perhaps_done() -> None:
    with (
        serving(_error(UnavailableError, "no store")) as first,
        OperatorClient([first.endpoint, _dead()], patience_seconds=0) as client,
    ):
        assert "Nothing is done" in str(_failure(client))


@pytest.mark.parametrize(
    "answer", [DROP, _error(UnclearError, "no answer"), Answer(502, b"<html>")]
)
def test_a_write_that_nobody_saw_the_end_of_is_perhaps_done(answer: Answer) -> None:
    with serving(answer) as first, OperatorClient([first.endpoint, _dead()]) as client:
        failure = _failure(client)
    assert isinstance(failure, UnclearError)
    assert "may or may not be done" in str(failure)


def test_the_sentence_that_ends_a_command_is_short_and_its_notes_say_all() -> None:
    long = "x" * 900
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(_error(UnavailableError, long))) for _ in range(5)
        ]
        endpoints = [_dead(), *(server.endpoint for server in servers)]
        client = stack.enter_context(OperatorClient(endpoints, patience_seconds=0))
        with pytest.raises(UnavailableError) as caught:
            client.snapshot()
    assert len(str(caught.value)) < 350
    assert "(5 of them)" in str(caught.value)
    assert len(caught.value.__notes__) == 6


def test_controllers_that_say_the_same_but_for_details_are_counted() -> None:
    with ExitStack() as stack:
        endpoints = [
            stack.enter_context(
                serving(_error(UnavailableError, f"the store does not answer ({each * 200})"))
            ).endpoint
            for each in "abc"
        ]
        client = stack.enter_context(OperatorClient(endpoints, patience_seconds=0))
        error = _failure(client)
    assert str(error) == (
        "no controller can do it: the store does not answer (3 of them). Nothing is done"
    )


def test_waiting_is_bounded_however_many_controllers_hang_and_is_told() -> None:
    said: list[str] = []
    with ExitStack() as stack:
        hung = [stack.enter_context(serving(HANG)).endpoint for _ in range(3)]
        client = stack.enter_context(OperatorClient(hung, 2.4, said.append))
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(UnavailableError, match="no answer within"):
                client.snapshot()
            assert time.monotonic() - began < 5
    assert hung[0] in said[0]


def test_what_is_asked_to_wait_is_not_told_to_be_waited_for() -> None:
    said: list[str] = []
    with (
        serving(HANG) as server,
        OperatorClient([server.endpoint], 0.3, said.append) as client,
        pytest.raises(UnavailableError, match="no answer within"),
    ):
        client.events(0, wait_ms=1500)
    assert not said


def test_one_that_hangs_leaves_time_for_the_next() -> None:
    with (
        serving(HANG) as hung,
        serving(codec.encode(PREVIEW)) as good,
        OperatorClient([hung.endpoint, good.endpoint], 2.0) as client,
    ):
        began = time.monotonic()
        assert client.plan(Change()) == PREVIEW
        assert time.monotonic() - began < 1.9
        began = time.monotonic()
        assert client.plan(Change()) == PREVIEW
        assert time.monotonic() - began < 0.9


def test_one_that_hung_is_given_a_short_time_from_then_on() -> None:
    with (
        serving(HANG) as hung,
        serving(_error(UnavailableError, "never")) as ignorant,
        OperatorClient([hung.endpoint, ignorant.endpoint], 4.0) as client,
    ):
        took = []
        for _ in range(2):
            began = time.monotonic()
            _failure(client)
            took.append(time.monotonic() - began)
        assert took[0] >= 2.0
        assert took[1] < 1.5


def test_what_was_known_last_is_the_youngest_that_anybody_knows() -> None:
    def view(name: str, seconds: float) -> bytes:
        snapshot = Snapshot(revision=5, platform=PLATFORM)
        known = SnapshotView(controller=name, snapshot=snapshot, stale_seconds=seconds)
        return codec.encode(known)

    with (
        serving(view("a", 30)) as old,
        serving(_error(UnavailableError, "never")) as ignorant,
        serving(view("b", 20)) as younger,
        OperatorClient([old.endpoint, ignorant.endpoint, younger.endpoint, _dead()]) as client,
    ):
        assert client.snapshot().controller == "b"
        younger.answer = Answer(body=view("b", 0))
        old.answer = Answer(body=view("a", 0))
        assert client.snapshot().stale_seconds == 0


def test_a_controller_that_did_nothing_leaves_no_doubt_and_an_older_one_does() -> None:
    sure = codec.encode(
        ErrorBody(error="UnavailableError", message="no store", nothing_done=True)
    )
    for body, doubt in ((sure, False), (b'{"error":"UnavailableError","message":"x"}', True)):
        with (
            serving(Answer(status=503, body=body)) as server,
            OperatorClient([server.endpoint, _dead()], patience_seconds=0) as client,
            pytest.raises(UnavailableError) as caught,
        ):
            client.apply(Change())
        assert isinstance(caught.value, UnclearError) == doubt
        assert ("may or may not" in str(caught.value)) == doubt


def test_a_conflict_after_a_lost_answer_is_an_unknown_outcome() -> None:
    with (
        serving(DROP) as first,
        serving(_error(ConflictError, "revision 5 is not 4")) as second,
    ):
        with (
            OperatorClient([first.endpoint, second.endpoint]) as client,
            pytest.raises(UnavailableError, match="perhaps did it"),
        ):
            client.apply(Change(revision=4))
        with (
            OperatorClient([_dead(), second.endpoint]) as client,
            pytest.raises(ConflictError),
        ):
            client.apply(Change(revision=4))


def test_health_is_told_for_each_endpoint() -> None:
    dead = _dead()
    with (
        serving(b"{}") as fine,
        serving(_error(UnavailableError, "no store")) as ill,
        OperatorClient([fine.endpoint, ill.endpoint, dead]) as client,
    ):
        health = client.health()
    assert health[fine.endpoint] == ""
    assert health[ill.endpoint] == "no store"
    assert health[dead]


@pytest.mark.parametrize(
    "endpoint", ["fra-c1:7480", "ftp://a", "unix:", "http://[x", "http://a:b", ""]
)
def test_what_is_not_an_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError, match="http://\\[ADDRESS\\]:7480"):
        OperatorClient([endpoint])


def test_every_error_class_survives_the_way_over_http() -> None:
    for kind in PltfrmsError.__subclasses__():
        if kind is UnavailableError:
            continue
        with (
            serving(_error(kind, "m")) as server,
            OperatorClient([server.endpoint]) as client,
            pytest.raises(kind),
        ):
            client.snapshot()
