"""`ports.Members` over etcd's JSON gateway (3.4 and 3.5), and its metrics for the quota.

Who the members are is asked of the leader, right after it has read what all agree on: another
one may not have heard yet of who came or went.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from pltfrms.drivers.failover import sentence_of
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.drivers.store.gateway import (
    HEADERS,
    answer_of,
    encode_bytes,
)
from pltfrms.drivers.store.posts import BrokenError, NotSentError, Posts, Tls
from pltfrms.errors import InvariantError, NotFoundError, UnavailableError
from pltfrms.model.messages.store import (
    NO_SPACE,
    StoreAlarm,
    StoreLook,
    StoreMember,
    StoreMembers,
)

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
_CHANGE_SECONDS = 8.0
"""For a change of the members, which a majority must write to disk."""
_FORGOTTEN = "has been compacted"
_KNOWN_ALREADY = "already exist"
_VOTES_ALREADY = 'only promote a learner member"'
_GONE_ALREADY = "member not found"
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

    @property
    def store(self) -> str:
        return str(self.status["header"].get("cluster_id", "")) if self.status else ""

    @property
    def leads(self) -> bool:
        return bool(self.status) and self.member == str((self.status or {}).get("leader"))


class EtcdMembers:
    """A client that asks each member for itself."""

    def __init__(self, endpoints: Sequence[str], tls: Tls | None = None) -> None:
        """Take the base URLs of all members; connects when first used.

        `tls` says what to show where one begins with `https:`.
        """
        self._endpoints = tuple(endpoints)
        self._further: tuple[str, ...] = ()
        """Where members say that they answer, of whom nobody else told us."""
        self._posts = Posts(HEADERS, _LOOK_SECONDS, _CONNECTIONS, tls)
        self._quotas: dict[str, tuple[float, int]] = {}
        self._endpoint_of: dict[str, str] = {}
        """By name of a member, as of the last look."""
        self._listed: Mapping[str, Mapping[str, Any]] = {}
        """What the store says of its members, by their numbers, as of the last look."""
        self._leader = ""
        self._store = ""
        """etcd's id of the store whose members we ask."""

    def use(self, endpoints: Sequence[str]) -> None:
        """Ask at these base URLs from now on, by new connections."""
        self._endpoints = tuple(endpoints)
        self._posts.forget()

    async def look(self) -> StoreLook:
        """Return how all members are; who does not answer has a `trouble`."""
        endpoints = dict.fromkeys((*self._endpoints, *self._further))
        said = await asyncio.gather(*map(self._hear, endpoints))
        heard = [each for each in said if each.status]
        self._store = _which(heard, self._store)
        strangers = tuple(each.endpoint for each in heard if each.store != self._store)
        said = [each for each in said if each.endpoint not in strangers]
        statuses = {each.member: each for each in said if each.status}
        if not statuses:
            return StoreLook(
                revision=0,
                members=tuple(
                    StoreMember(name=each.endpoint, trouble=each.trouble) for each in said
                ),
            )
        by_rank = sorted(statuses.values(), key=lambda each: not each.leads)
        listed = await self._list([each.endpoint for each in by_rank]) or self._listed
        nameless = [] if listed else [each for each in said if not each.status]
        self._listed = listed
        listed = listed or {number: {} for number in statuses}
        names = {number: _name(number, each) for number, each in listed.items()}
        self._endpoint_of = {
            names[number]: each.endpoint for number, each in statuses.items() if number in names
        }
        self._further = self._elsewhere(listed, statuses)
        members = [_member(no, each, statuses.get(no)) for no, each in listed.items()]
        members += [StoreMember(name=each.endpoint, trouble=each.trouble) for each in nameless]
        self._leader = next((member.name for member in members if member.leader), "")
        return StoreLook(
            revision=max(_revision(each.status) for each in statuses.values()),
            members=tuple(sorted(members, key=lambda member: member.name)),
            alarms=_alarms((each.status or {} for each in statuses.values()), names),
            strangers=strangers,
        )

    async def agreed(self) -> tuple[StoreMembers, ...]:
        """Return the members as one says who has just read what all agree on.

        Those of each store that answers: there should be one.

        Raises:
            UnavailableError: nobody could.
        """
        said = await asyncio.gather(*map(self._hear, self._endpoints))
        heard = [each for each in said if each.status and not each.status.get("isLearner")]
        heard.sort(key=lambda each: not each.leads)
        found = []
        for store in dict.fromkeys(each.store for each in heard):
            listed = await self._list([each.endpoint for each in heard if each.store == store])
            members = tuple(_member(number, each, None) for number, each in listed.items())
            found += [StoreMembers(store=store, members=members)] if members else []
        if not found:
            troubles = "; ".join(each.trouble for each in said if each.trouble)
            raise UnavailableError(f"no member of the store answers: {troubles}")
        return tuple(found)

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
        names = {_name(number, each): number for number, each in self._listed.items()}
        path = "/v3/maintenance/transfer-leadership"
        request = {"targetID": names.get(member, "0")}
        await self._do(self._endpoint(self._leader), path, request, _LOOK_SECONDS)

    async def add(self, peer: str) -> None:
        """Add a learner that others reach at `peer`; that there is one is not an error."""
        await self._change("add", {"peerURLs": [peer], "isLearner": True}, _KNOWN_ALREADY)

    async def promote(self, number: str) -> None:
        """Give a learner a vote; that it has one is not an error."""
        await self._change("promote", {"ID": number}, _VOTES_ALREADY)

    async def remove(self, number: str) -> None:
        """Take a member out; that it is not there is not an error."""
        await self._change("remove", {"ID": number}, _GONE_ALREADY)

    async def move(self, number: str, peer: str) -> None:
        """Have the others reach a member at `peer`; whoever answers is asked."""
        request = {"ID": number, "peerURLs": [peer]}
        path = "/v3/cluster/member/update"
        await self._do(self._endpoints[0], path, request, _CHANGE_SECONDS)

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

    async def _change(self, verb: str, request: Mapping[str, Any], done: str) -> None:
        """Change the members; `done` is how etcd refuses what is so already."""
        endpoint, path = self._endpoint(self._leader), f"/v3/cluster/member/{verb}"
        try:
            await self._do(endpoint, path, request, _CHANGE_SECONDS)
        except UnavailableError as error:
            if done not in str(error):
                raise

    def _elsewhere(
        self, listed: Mapping[str, Mapping[str, Any]], statuses: Mapping[str, _Said]
    ) -> tuple[str, ...]:
        """Return where members answer that did not answer at our endpoints."""
        answered = {no for no, said in statuses.items() if said.endpoint in self._endpoints}
        urls = (u for no in listed.keys() - answered for u in listed[no].get("clientURLs", ()))
        return tuple(sorted(set(urls) - set(self._endpoints)))

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
        request: dict[str, Any] = {"key": _ANY_KEY, "keys_only": True}
        try:
            status = await self._do(endpoint, "/v3/maintenance/status", {}, _LOOK_SECONDS)
            if status.get("isLearner"):  # it may not ask what all agree on
                request["serializable"] = True
            await self._do(endpoint, "/v3/kv/range", request, _LOOK_SECONDS)
            return _Said(endpoint, "", status, await self._quota(endpoint, status))
        except UnavailableError as error:
            return _Said(endpoint, str(error))

    async def _list(self, endpoints: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return what the store says of its members, by number; of whoever answers first."""
        for endpoint in endpoints:
            try:
                answer = await self._do(
                    endpoint, "/v3/cluster/member/list", {}, _LOOK_SECONDS / 2
                )
            except UnavailableError:
                continue
            return {str(each["ID"]): each for each in answer.get("members", ())}
        return {}

    async def _quota(self, endpoint: str, status: Mapping[str, Any]) -> int:
        """Return the quota of a member; before etcd 3.6 only its metrics say it."""
        if "dbSizeQuota" in status:
            return int(status["dbSizeQuota"])
        at, known = self._quotas.get(endpoint, (0.0, 0))
        if not known or time.monotonic() - at >= _QUOTA_SECONDS:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    text = await _metrics(endpoint, self._posts.end_of(endpoint))
            except (OSError, NotSentError):
                return known
            found = _QUOTA.search(text)
            known = int(float(found[1])) if found else known
            self._quotas[endpoint] = (time.monotonic(), known)
        return known


async def _metrics(endpoint: str, tls: TlsEnd | None) -> str:
    """Return a member's metrics in Prometheus' text format; OSError if it does not answer."""
    at = urlsplit(endpoint)
    reader, writer = await asyncio.open_connection(
        at.hostname,
        at.port,
        ssl=tls.context if tls else None,
        server_hostname=tls.name if tls else None,
    )
    try:
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        return (await reader.read()).decode(errors="replace")
    finally:
        writer.transport.abort()


def _which(heard: Sequence[_Said], known: str) -> str:
    """Return the store that is ours: that of before while it answers, else the nearest."""
    stores = [each.store for each in heard]
    return known if known in stores or not stores else stores[0]


# ---- etcd's JSON ---------------------------------------------------------------------------


def _name(number: str, listed: Mapping[str, Any]) -> str:
    return listed.get("name") or number


def _member(number: str, listed: Mapping[str, Any], said: _Said | None) -> StoreMember:
    member = StoreMember(
        name=_name(number, listed),
        number=number,
        peer=next(iter(listed.get("peerURLs", ())), ""),
        learner=bool(listed.get("isLearner")),
        started=bool(listed.get("clientURLs")),
        trouble="no answer within a few seconds",
    )
    if said is None or said.status is None:
        return member
    status = said.status
    applied = int(status.get("raftAppliedIndex", 0))
    return replace(
        member,
        started=True,
        index=applied,
        file_bytes=int(status.get("dbSize", 0)),
        used_bytes=int(status.get("dbSizeInUse", 0)),
        quota_bytes=said.quota_bytes,
        leader=said.leads,
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
