"""What goes the short way is answered as it would be the long way."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from pltfrms.api import app as api
from pltfrms.api.routes.straight import plainly_asked
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform

QUERIES = (
    "",
    "?after=0",
    "?after=0&wait_ms=0&made_of=&platform=0",
    "?made_of=x&platform=1",
    "?made_of=x&platform=999999999999",
    "?after=999999999",
    "?after=9223372036854775807",
    "?after=99999999999999999999999999",
    "?after=-1",
    "?after=+1",
    "?after=1.0",
    "?after=007",
    "?after=%D9%A1",
    "?after=",
    "?after=x&wait_ms=y",
    "?wait_ms=60001",
    "?key=" + 200 * "k",
    "?key=" + 201 * "k",
    "?made_of=a&made_of=b",
    "?after=x&after=0",
    "?unknown=1",
    "?%FF=%FF",
    "?made_of=" + 20_000 * "m",
)
MACHINES = ("fra-n1", "fra-n9", "", "fra%2Dn1", "fra/n1", "fra%2Fn1", "%E2%82%AC", "..")


async def _answers() -> Mapping[str, tuple[int, bytes]]:
    cluster = Cluster(make_platform({"fra": 1}))
    cluster.start()
    await cluster.until(lambda: len(cluster.stored().leases) == 3, 10)
    transport = httpx2.ASGITransport(api.make_app(cluster.operations))
    found = {}
    async with httpx2.AsyncClient(transport=transport, base_url="http://c") as client:
        for machine in MACHINES:
            for query in QUERIES if machine == "fra-n1" else QUERIES[:2]:
                path = f"/v1/targets/{machine}{query}"
                answer = await client.get(path)
                found[path] = (answer.status_code, answer.content)
    return found


def _both_ways(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, tuple[int, bytes]]]:
    found = []

    async def run() -> None:
        found.append(await asyncio.ensure_future(_answers()))

    run_virtual(run())
    monkeypatch.setattr(api, "plainly_asked", lambda *_: None)
    run_virtual(run())
    return found


def test_a_target_is_the_same_by_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    plainly = plainly_asked

    def noted(*words: Any) -> Any:
        asked.append(plainly(*words))
        return asked[-1]

    monkeypatch.setattr(api, "plainly_asked", noted)
    short, long = _both_ways(monkeypatch)
    assert short == long
    assert {status for status, _ in short.values()} >= {200, 204, 400, 404}
    usual = {"after": 0, "wait_ms": 0, "made_of": "", "platform": 0}
    assert usual in asked
    assert None in asked
