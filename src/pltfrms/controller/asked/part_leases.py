"""Leases of parts of the store: whose each is, is kept beside the parts, and has that lease.

With it is kept from which address it was asked for: so it can end with who asked.
"""

import asyncio
import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pltfrms.drivers.store.ports import Gateway
from pltfrms.model.services.parts import leases_of
from pltfrms.planner.parts.refusals import EXHAUSTED, INVALID, PartError
from pltfrms.planner.parts.room import LEASES_MAX, why_no_lease

_KNOWN_MAX: Final = 4096


class PartLeases:
    """Knows which leases are of which part."""

    def __init__(self, gateway: Gateway) -> None:
        """Ask the store for those that are not known here."""
        self._gateway = gateway
        self._granting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._whose: dict[int, str] = {}
        """No number is ever given twice, so it stays true."""

    async def has(self, service: str, lease: int) -> bool:
        """Return whether a lease is one of a part."""
        if lease in self._whose:
            return self._whose[lease] == service
        question = {"key": _text(_note(service, lease)), "keys_only": True}
        answer = await self._gateway.ask("/v3/kv/range", question, repeatable=True)
        if int(answer.get("count", 0)):
            self._know(service, lease)
        return self._whose.get(lease) == service  # by now it may be known as another's

    async def of(self, service: str, addresses: Iterable[str]) -> tuple[int, ...]:
        """Return the leases of a part that were asked for from these addresses."""
        answer = await self._gateway.ask("/v3/kv/range", _all_of(service), repeatable=True)
        asked_from = {each.encode() for each in addresses}
        return tuple(
            int(base64.b64decode(each["key"]).rpartition(b"/")[2])
            for each in answer.get("kvs", ())
            if base64.b64decode(each.get("value", "")) in asked_from
        )

    async def grant(self, service: str, ttl_seconds: int, origin: str) -> Mapping[str, Any]:
        """Make a lease of a part, one after the other; PartError.

        `origin` is the address from which it is asked for.
        """
        async with self._granting[service]:
            if why := why_no_lease(ttl_seconds, await self._count(service)):
                raise PartError(EXHAUSTED if str(LEASES_MAX) in why else INVALID, why)
            question: dict[str, Any] = {"TTL": str(ttl_seconds)}
            granted = await self._gateway.ask("/v3/lease/grant", question, repeatable=False)
            lease = int(granted["ID"])
            note = {
                "key": _text(_note(service, lease)),
                "value": _text(origin.encode()),
                "lease": str(lease),
            }
            await self._gateway.ask("/v3/kv/put", note, repeatable=True)
            self._know(service, lease)
            return granted

    async def keep_alive(self, service: str, lease: int) -> Mapping[str, Any]:
        """Renew a lease of a part; any other is as one that is gone."""
        if not await self.has(service, lease):
            return {"result": {"ID": str(lease)}}
        question = {"ID": str(lease)}
        return await self._gateway.ask("/v3/lease/keepalive", question, repeatable=True)

    async def revoke(self, lease: int) -> Mapping[str, Any]:
        """End a lease, whosever it is."""
        return await self._gateway.ask("/v3/lease/revoke", {"ID": str(lease)}, repeatable=True)

    async def _count(self, service: str) -> int:
        question = {**_all_of(service), "count_only": True}
        answer = await self._gateway.ask("/v3/kv/range", question, repeatable=True)
        return int(answer.get("count", 0))

    def _know(self, service: str, lease: int) -> None:
        if len(self._whose) >= _KNOWN_MAX:
            self._whose.clear()
        self._whose[lease] = service


def _all_of(service: str) -> dict[str, Any]:
    begin = leases_of(service).encode()
    end = begin[:-1] + bytes([begin[-1] + 1])
    return {"key": _text(begin), "range_end": _text(end)}


def _note(service: str, lease: int) -> bytes:
    return f"{leases_of(service)}{lease}".encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
