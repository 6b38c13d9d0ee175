"""Whose leases are, while several ask at once."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pltfrms.controller.asked.part_leases import PartLeases

LEASE = 7


class Store:
    """Has one lease, of `db-2`; what is asked about others takes longer."""

    def __init__(self) -> None:
        self.slow = asyncio.Event()

    async def ask(
        self, path: str, question: Mapping[str, Any], *, repeatable: bool
    ) -> Mapping[str, Any]:
        assert (path, repeatable) == ("/v3/kv/range", True)
        if base64.b64decode(question["key"]) == b"/pltfrms-part-leases/db-2/7":
            return {"count": "1"}
        await self.slow.wait()
        return {}

    def watch(self, question: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
        raise NotImplementedError


def test_a_lease_is_nobodys_else_also_when_both_ask_at_once() -> None:
    async def story() -> None:
        store = Store()
        leases = PartLeases(store)
        asking = asyncio.create_task(leases.has("db", LEASE))
        await asyncio.sleep(0)  # it waits for the store
        assert await leases.has("db-2", LEASE)
        store.slow.set()
        assert not await asking
        assert not await leases.has("db", LEASE)

    asyncio.run(story())
