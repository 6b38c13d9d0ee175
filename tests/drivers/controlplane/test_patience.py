"""An agent waits for who works for it, and comes again when it is told to."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest

from pltfrms import codec
from pltfrms.api.bounds.refusals import refusal
from pltfrms.drivers.controlplane import agent_client
from pltfrms.drivers.controlplane.agent_client import HttpControlPlane
from pltfrms.drivers.controlplane.asking import said_of
from pltfrms.errors import LaterError, UnavailableError
from pltfrms.model.messages.api import (
    ErrorBody,
    Heartbeat,
    HeartbeatReply,
    LeasesAsk,
    LeasesReply,
)
from pltfrms.model.running.state import MachineStatus
from tests.contracts.etcd import free_ports
from tests.drivers.tiny_http import HANG, Answer, serving

_T = TypeVar("_T")
HEARTBEAT = Heartbeat(status=MachineStatus(machine="fra-n1"))
REPLY = codec.encode(HeartbeatReply(generation=3))


def with_client(urls: list[str], scenario: Callable[[HttpControlPlane], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        client = HttpControlPlane(urls)
        try:
            return await scenario(client)
        finally:
            await client.close()

    return asyncio.run(run())


def test_an_agent_waits_longer_for_who_works_where_no_other_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_client, "_HEARTBEAT_SECONDS", 0.2)

    async def tries(client: HttpControlPlane) -> int:
        for number in range(1, 9):
            with suppress(UnavailableError):
                await client.heartbeat(HEARTBEAT)
                return number
        return 0

    with serving(Answer(body=REPLY, after_seconds=0.6)) as busy:
        dead = f"http://127.0.0.1:{free_ports(1)[0]}"
        assert with_client([busy.endpoint, dead], tries) > 1


def test_a_hung_controller_does_not_keep_leases_of_who_has_ended() -> None:
    """An instance waits a second before it is started, and then it is too late."""
    reply = LeasesReply(leases=(7,))

    async def scenario(client: HttpControlPlane) -> float:
        began = time.monotonic()
        ask = LeasesAsk(machine="fra-n1", allocation="db.fra.1-1")
        assert await client.leases(ask) == reply
        return time.monotonic() - began

    with serving(HANG) as hung, serving(codec.encode(reply)) as good:
        assert with_client([hung.endpoint, good.endpoint], scenario) < 2.5


def test_who_is_told_to_come_later_asks_no_other_and_another_one_then() -> None:
    full = refusal(LaterError("others are let in", 2.5))
    assert full.headers["Retry-After"] == "3"

    async def scenario(client: HttpControlPlane) -> None:
        with pytest.raises(LaterError, match="others are let in") as told:
            await client.heartbeat(HEARTBEAT)
        assert told.value.retry_seconds == pytest.approx(2.5)
        assert (len(near.seen), len(far.seen)) == (1, 0)
        assert (await client.heartbeat(HEARTBEAT)).generation == 3

    with (
        serving(Answer(status=full.status_code, body=bytes(full.body))) as near,
        serving(REPLY) as far,
    ):
        with_client([near.endpoint, far.endpoint], scenario)


@pytest.mark.parametrize("retry_ms", [3_600_000, 10**400], ids=["an hour", "for ever"])
def test_however_long_a_controller_sends_us_away_another_is_asked_soon(retry_ms: int) -> None:
    away = ErrorBody(error="UnavailableError", message="come again", retry_ms=retry_ms)
    said = said_of("here", 503, codec.encode(away))
    assert isinstance(said, LaterError)
    assert said.retry_seconds == 30
