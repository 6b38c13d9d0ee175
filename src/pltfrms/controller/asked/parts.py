"""The gate: answers for etcd to the instances of services, each about its part of the store."""

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from functools import lru_cache
from typing import Any, Final

from pltfrms.controller.asked.part_ends import PartEnds
from pltfrms.controller.asked.part_leases import PartLeases
from pltfrms.controller.asked.part_room import PartRoom
from pltfrms.controller.planning.loop import Controller
from pltfrms.drivers.store.ports import Gateway
from pltfrms.errors import UnavailableError
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.gates import gate_of
from pltfrms.model.services.service import Service, ServiceSpec
from pltfrms.planner.parts.questions import (
    PartJudge,
    PartQuestion,
    lease_of,
    login_of,
    nothing_of,
    ttl_of,
)
from pltfrms.planner.parts.refusals import (
    EXHAUSTED,
    INVALID,
    LEASE_NOT_FOUND,
    NOT_FOUND,
    UNAUTHENTICATED,
    PartError,
)
from pltfrms.planner.parts.room import ANSWER_BYTES_MIN, WATCHES_MAX, size_of
from pltfrms.planner.parts.tokens import is_valid, service_in, token_for
from pltfrms.planner.upkeep.upkeep import WARN_SHARE

VERSION: Final = "3.4.0"
"""Of etcd, whose words are understood."""
_WRONG: Final = "etcdserver: authentication failed, invalid user ID or password"
_NO_TOKEN: Final = "etcdserver: user name is empty"  # noqa: S105 (etcd's words for none)
_BAD_TOKEN: Final = "etcdserver: invalid auth token"  # noqa: S105 (likewise)
_OPENED_MAX: Final = 1024


class PartsDesk:
    """Every method raises PartError for what is refused, and the errors of `ports.Gateway`."""

    def __init__(self, controller: Controller, gateway: Gateway, *, secure: bool) -> None:
        """Ask `gateway`, which nobody else does; `secure`: controllers answer by TLS."""
        self._controller = controller
        self._gateway = gateway
        self._secure = secure
        self._monotonic = controller.clock.monotonic
        self._room = PartRoom(gateway, self._monotonic, self._gates)
        self._leases = PartLeases(gateway)
        self.ends = PartEnds(controller.view, self._leases)
        self._watches: Counter[str] = Counter()
        self._opened = lru_cache(_OPENED_MAX)(self._open)

    # ---- who it is -------------------------------------------------------------------------

    def login(self, said: object) -> dict[str, Any]:
        """Answer `auth/authenticate`."""
        name, password = login_of(said)
        if not name:
            raise PartError(INVALID, _NO_TOKEN)
        seconds = self._controller.clock.unix_ms() // 1000
        passwords = self._passwords(name)
        if not passwords:  # also of what is no name, and cannot be in a token
            raise PartError(INVALID, _WRONG)
        token = token_for(name, password.encode(errors="replace"), seconds)
        if not is_valid(token, passwords, seconds):
            raise PartError(INVALID, _WRONG)
        return {"token": token}

    def who(self, token: str) -> str:
        """Return the service that a token is of."""
        if not token:
            raise PartError(INVALID, _NO_TOKEN)
        service = service_in(token)
        seconds = self._controller.clock.unix_ms() // 1000
        if not service or not is_valid(token, self._passwords(service), seconds):
            raise PartError(UNAUTHENTICATED, _BAD_TOKEN)
        return service

    def weigh(self, service: str, size: int) -> None:
        """Count a question of so many bytes before it is read, but for small ones."""
        if size > ANSWER_BYTES_MIN:
            self._room.expect(service, size)

    def _passwords(self, name: str) -> list[bytes]:
        """Return with which a service may come: those of versions that it has now."""
        stored = self._controller.view.last_stored()
        service = stored.services.get(name)
        found = []
        for spec in _specs(service) if service else ():
            store = spec.run.store
            secret = stored.secrets.get(store.secret) if store else None
            uses = {use.name: use.version for use in spec.run.secrets}
            if store and secret:
                version = uses.get(store.secret, 0) or secret.note.version
                sealed = secret.sealed(version)
                found.append(self._opened(store.secret, version, sealed))
        return [each for each in found if each]  # an empty line lets nobody in

    def _open(self, name: str, version: int, _sealed: str) -> bytes:
        """Return a value as who reads a file of it shows it: without the end of its line."""
        secret = self._controller.view.last_stored().secrets[name]
        return self._controller.values.opened(secret, version).rstrip(b"\r\n")

    # ---- keys ------------------------------------------------------------------------------

    async def range(self, service: str, said: object) -> Mapping[str, Any]:
        """Answer `kv/range`."""
        asked = PartJudge(service).range(said)
        return await self._room.ask(service, "/v3/kv/range", asked)

    async def put(self, service: str, said: object) -> Mapping[str, Any]:
        """Answer `kv/put`."""
        return await self._change(service, "put", PartJudge(service).put(said))

    async def delete_range(self, service: str, said: object) -> Mapping[str, Any]:
        """Answer `kv/deleterange`."""
        return await self._change(service, "deleterange", PartJudge(service).delete_range(said))

    async def txn(self, service: str, said: object) -> Mapping[str, Any]:
        """Answer `kv/txn`."""
        return await self._change(service, "txn", PartJudge(service).txn(said))

    async def _change(self, service: str, what: str, asked: PartQuestion) -> Mapping[str, Any]:
        for lease in asked.leases:
            if not await self._leases.has(service, lease):
                raise PartError(NOT_FOUND, LEASE_NOT_FOUND)
        if asked.puts:
            self._require_free()
        if asked.changes:
            await self._room.take(service, asked)
            self._room.wrote(service, asked.puts)
        return await self._room.ask(service, f"/v3/kv/{what}", asked)

    def _require_free(self) -> None:
        """Take nothing more while the store is rather full, or nobody knows how full it is."""
        upkeep = self._controller.upkeep
        if upkeep is None:
            return
        if upkeep.state is None:
            raise UnavailableError("this controller has not seen yet how full the store is")
        if any(each.share > WARN_SHARE for each in upkeep.state.look.members):
            what = f"the store is more than {WARN_SHARE:.0%} full: nothing new is written"
            raise PartError(EXHAUSTED, what)

    # ---- leases ----------------------------------------------------------------------------

    async def grant(self, service: str, said: object, origin: str = "") -> Mapping[str, Any]:
        """Answer `lease/grant`, which is asked from the address `origin`."""
        ttl_seconds = ttl_of(said)
        self._require_free()
        await self._room.take(service, PartQuestion())
        return await self._leases.grant(service, ttl_seconds, origin)

    async def keep_alive(self, service: str, said: object) -> Mapping[str, Any]:
        """Answer `lease/keepalive`; of a lease that is none of the part as if it were gone."""
        return await self._leases.keep_alive(service, lease_of(said))

    async def revoke(self, service: str, said: object) -> Mapping[str, Any]:
        """Answer `lease/revoke`."""
        lease = lease_of(said)
        if not await self._leases.has(service, lease):
            raise PartError(NOT_FOUND, LEASE_NOT_FOUND)
        await self._room.take(service, PartQuestion())
        return await self._leases.revoke(lease)

    # ---- what lasts, and what is known of all -----------------------------------------------

    async def watch(self, token: str, said: object) -> AsyncGenerator[Mapping[str, Any]]:
        """Yield the answers to `watch`, as long as the token is valid."""
        service = self.who(token)
        asked = PartJudge(service).watch(said)
        if self._watches[service] >= WATCHES_MAX:
            raise PartError(EXHAUSTED, f"a part has at most {WATCHES_MAX} watches")
        self._watches[service] += 1
        try:
            async with contextlib.aclosing(self._gateway.watch(asked.question)) as answers:
                async for answer in answers:
                    self.who(token)
                    yield answer
                    if pause := self._room.answered(service, size_of(answer)):
                        await self._controller.clock.sleep(pause)
        finally:
            self._watches[service] -= 1
            if not self._watches[service]:
                del self._watches[service]

    def members(self, said: object) -> dict[str, Any]:
        """Answer `cluster/member/list`: with the gates, which are all that is to be asked."""
        nothing_of(said)
        platform, scheme = self._platform(), f"http{'s' if self._secure else ''}"
        members = [
            {
                "ID": str(number),
                "name": each.name,
                "clientURLs": [f"{scheme}://{gate_of(platform, each, secure=self._secure)}"],
            }
            for number, each in enumerate(platform.machines_of(Role.CONTROLLER), 1)
        ]
        return {"members": members}

    def _platform(self) -> Platform:
        return self._controller.platform

    def _gates(self) -> int:
        return len(self._platform().machines_of(Role.CONTROLLER))


def _specs(service: Service) -> tuple[ServiceSpec, ...]:
    before = service.before
    return (service.spec, *((before.spec,) if before else ()))
