"""`ports.Members` over etcd's JSON gateway (3.4 and 3.5), and its metrics for the quota."""

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pltfrms.drivers.failover import sentence_of
from pltfrms.drivers.store.gateway import (
    HEADERS,
    answer_of,
    encode_bytes,
)
from pltfrms.drivers.store.posts import BrokenError, NotSentError, Posts
from pltfrms.errors import InvariantError, NotFoundError, UnavailableError
from pltfrms.model.messages.store import NO_SPACE, StoreAlarm, StoreLook, StoreMember

_LOOK_SECONDS = 2.0
"""For each of the few questions of a look; who does not answer in it is not well."""
_CONNECTIONS = 50
_COMPACT_SECONDS = 60.0
_DEFRAGMENT_SECONDS = 120.0
"""It takes as long as writing what is in use to disk."""
_QUOTA_SECONDS = 300.0
"""So long a quota is believed: it changes only when a member starts."""
_QUOTA = re.compile(r"^etcd_server_quota_backend_bytes (\S+)$", re.MULTILINE)
_ALARM = re.compile(r"memberID:(\d+)\s+alarm:(\w+)")
_FORGOTTEN = "has been compacted"
_ANY_KEY = encode_bytes(b"/")

_FAILURES = (NotSentError, BrokenError, InvariantError, NotFoundError, UnavailableError)


@dataclass(frozen=True, slots=True)
class _Said:
    """What one endpoint says of its member."""

    endpoint: str
    trouble: str = ""
    status: Mapping[str, Any] | None = None
    quota_bytes: int = 0

    @property
    def member(self) -> str:
        return str(self.status["header"]["member_id"]) if self.status else ""


class EtcdMembers:
    """A client that asks each member for itself."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        """Take the base URLs of all members; connects when first used."""
        self._endpoints = tuple(endpoints)
        self._posts = Posts(HEADERS, _LOOK_SECONDS, _CONNECTIONS)
        self._quotas: dict[str, tuple[float, int]] = {}
        self._endpoint_of: dict[str, str] = {}
        """By name of a member, as of the last look."""
        self._ids: dict[str, str] = {}
        self._leader = ""

    async def look(self) -> StoreLook:
        """Return how all members are; who does not answer has a `trouble`."""
        said, names = await asyncio.gather(
            asyncio.gather(*map(self._hear, self._endpoints)), self._names()
        )
        statuses = {each.member: each for each in said if each.status}
        if not statuses:
            return StoreLook(
                revision=0,
                members=tuple(
                    StoreMember(name=each.endpoint, trouble=each.trouble) for each in said
                ),
            )
        names = names or {number: name for name, number in self._ids.items()}
        nameless = [] if names else [each for each in said if not each.status]
        names = names or {number: number for number in statuses}
        self._ids = {name: number for number, name in names.items()}
        self._endpoint_of = {
            names[number]: each.endpoint for number, each in statuses.items() if number in names
        }
        members = [_member(name, statuses.get(number)) for number, name in names.items()]
        members += [StoreMember(name=each.endpoint, trouble=each.trouble) for each in nameless]
        self._leader = next((member.name for member in members if member.leader), "")
        return StoreLook(
            revision=max(_revision(each.status) for each in statuses.values()),
            members=tuple(sorted(members, key=lambda member: member.name)),
            alarms=_alarms((each.status or {} for each in statuses.values()), names),
        )

    async def compact(self, revision: int) -> None:
        """Forget what was before a revision; that it is forgotten already is not an error."""
        request = {"revision": str(revision), "physical": True}
        problems = []
        for endpoint in self._endpoints:
            try:
                await self._do(endpoint, "/v3/kv/compaction", request, _COMPACT_SECONDS)
            except UnavailableError as error:
                if _FORGOTTEN in str(error):
                    return
                problems.append(str(error))
            else:
                return
        raise UnavailableError(f"history is not forgotten: {'; '.join(problems)}")

    async def lead(self, member: str) -> None:
        """Have a member lead the others."""
        leader, number = self._endpoint(self._leader), self._ids.get(member, "0")
        path = "/v3/maintenance/transfer-leadership"
        await self._do(leader, path, {"targetID": number}, _LOOK_SECONDS)

    async def defragment(self, member: str) -> None:
        """Make the file of a member as small as what is in use; it answers nobody meanwhile."""
        endpoint = self._endpoint(member)
        await self._do(endpoint, "/v3/maintenance/defragment", {}, _DEFRAGMENT_SECONDS)

    async def disarm(self) -> None:
        """Have a full store take writes again."""
        endpoint = self._endpoint(self._leader)
        path = "/v3/maintenance/alarm"
        answer = await self._do(endpoint, path, {"action": "GET"}, _LOOK_SECONDS)
        for alarm in answer.get("alarms", ()):
            if alarm.get("alarm") == NO_SPACE:
                request = {
                    "action": "DEACTIVATE",
                    "memberID": alarm["memberID"],
                    "alarm": NO_SPACE,
                }
                await self._do(endpoint, path, request, _LOOK_SECONDS)

    async def close(self) -> None:
        """Release connections."""
        await self._posts.close()

    # ---- asking ----------------------------------------------------------------------------

    async def _do(
        self, endpoint: str, path: str, request: Mapping[str, Any], seconds: float
    ) -> Mapping[str, Any]:
        try:
            body = json.dumps(request).encode()
            return answer_of(*await self._posts.ask(endpoint, path, body, seconds))
        except _FAILURES as error:
            raise UnavailableError(f"{endpoint}: {sentence_of(error)}") from error

    def _endpoint(self, member: str) -> str:
        endpoint = self._endpoint_of.get(member)
        if endpoint is None:
            raise UnavailableError(f"no member {member!r} of the store has answered")
        return endpoint

    async def _hear(self, endpoint: str) -> _Said:
        """Ask a member for its state, and for a key: who is being defragmented has none."""
        request = {"key": _ANY_KEY, "keys_only": True}
        try:
            status = await self._do(endpoint, "/v3/maintenance/status", {}, _LOOK_SECONDS)
            await self._do(endpoint, "/v3/kv/range", request, _LOOK_SECONDS)
            return _Said(endpoint, "", status, await self._quota(endpoint, status))
        except UnavailableError as error:
            return _Said(endpoint, str(error))

    async def _names(self) -> dict[str, str]:
        """Return the name of each member by its id, from whoever answers first."""
        for endpoint in self._endpoints:
            try:
                answer = await self._do(
                    endpoint, "/v3/cluster/member/list", {}, _LOOK_SECONDS / 2
                )
            except UnavailableError:
                continue
            members = answer.get("members", ())
            return {str(each["ID"]): each.get("name") or str(each["ID"]) for each in members}
        return {}

    async def _quota(self, endpoint: str, status: Mapping[str, Any]) -> int:
        """Return the quota of a member; before etcd 3.6 only its metrics say it."""
        if "dbSizeQuota" in status:
            return int(status["dbSizeQuota"])
        at, known = self._quotas.get(endpoint, (0.0, 0))
        if not known or time.monotonic() - at >= _QUOTA_SECONDS:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    text = await _metrics(endpoint)
            except OSError:
                return known
            found = _QUOTA.search(text)
            known = int(float(found[1])) if found else known
            self._quotas[endpoint] = (time.monotonic(), known)
        return known


async def _metrics(endpoint: str) -> str:
    """Return a member's metrics in Prometheus' text format; OSError if it does not answer."""
    at = urlsplit(endpoint)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        return (await reader.read()).decode(errors="replace")
    finally:
        writer.transport.abort()


# ---- etcd's JSON ---------------------------------------------------------------------------


def _member(name: str, said: _Said | None) -> StoreMember:
    if said is None or said.status is None:
        return StoreMember(name=name, trouble="no answer within a few seconds")
    status = said.status
    applied = int(status.get("raftAppliedIndex", 0))
    return StoreMember(
        name=name,
        file_bytes=int(status.get("dbSize", 0)),
        used_bytes=int(status.get("dbSizeInUse", 0)),
        quota_bytes=said.quota_bytes,
        leader=said.member == str(status.get("leader")),
        behind=max(int(status.get("raftIndex", 0)) - applied, 0),
        trouble="" if int(status.get("leader", 0)) else "it knows no leader",
    )


def _alarms(
    statuses: Iterable[Mapping[str, Any]], names: Mapping[str, str]
) -> tuple[StoreAlarm, ...]:
    found = {
        (names.get(number, number), what)
        for status in statuses
        for line in status.get("errors", ())
        for number, what in _ALARM.findall(line)
    }
    return tuple(StoreAlarm(member=member, what=what) for member, what in sorted(found))


def _revision(status: Mapping[str, Any] | None) -> int:
    return int(status["header"].get("revision", 0)) if status else 0
