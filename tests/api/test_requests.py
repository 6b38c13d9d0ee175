"""Change requests over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx2

from pltfrms.api.app import make_app
from pltfrms.codec import decode, encode
from pltfrms.drivers.operators.memory import MemorySignatures, memory_signature
from pltfrms.model.messages.api import ErrorBody
from pltfrms.model.messages.requests import (
    Approval,
    ChangeRequest,
    RequestReply,
    RequestState,
    Signed,
    Withdrawal,
)
from tests.controller.cluster import Cluster
from tests.controller.test_requests import DRAIN, KEYS, PLATFORM, Office
from tests.simulation.virtual import run_virtual


def serve(story: Callable[[Office, httpx2.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        cluster = Cluster(PLATFORM)
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 15, 10)
        app = make_app(cluster.operations, signatures=MemorySignatures())
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://c") as client:
            await asyncio.ensure_future(story(Office(cluster), client))

    run_virtual(run())


def test_a_drain_from_refusal_to_approval() -> None:
    async def story(office: Office, client: httpx2.AsyncClient) -> None:
        refused = await client.post("/v1/interventions", content=encode(DRAIN))
        assert refused.status_code == 409
        assert decode(ErrorBody, refused.content).error == "TwoPeopleError"
        text = office.wanted(DRAIN)
        signed = Signed(text=text, signature=memory_signature(text, KEYS["ada"]))
        asked = await client.post("/v1/requests", content=encode(signed))
        request = decode(RequestReply, asked.content).request
        listed = await client.get("/v1/requests")
        assert decode(list[ChangeRequest], listed.content) == [replace(request, text="")]
        path = f"/v1/requests/{request.id}"
        assert decode(RequestReply, (await client.get(path)).content).reply
        approval = Approval(signature=memory_signature(text, KEYS["bob"]))
        done = await client.post(f"{path}/approval", content=encode(approval))
        assert decode(RequestReply, done.content).request.state is RequestState.APPROVED
        assert office.cluster.stored().interventions.drains
        late = await client.post(f"{path}/withdrawal", content=encode(Withdrawal(by="eve")))
        assert late.status_code == 409
        assert (await client.get("/v1/requests/none")).status_code == 404
        junk = await client.post("/v1/requests", content=b"{}")
        assert junk.status_code == 400

    serve(story)
