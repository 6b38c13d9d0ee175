"""`ports.Store` and `ports.Gateway` over etcd 3.4's JSON gateway.

Every request carries `hasleader`, so that a member that has lost its quorum says so at once
instead of waiting, and ends its watches instead of staying silent. Reads are linearizable.
"""

import asyncio
import contextlib
import json
import time
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import httpx2

from pltfrms.drivers.failover import Failover, sentence_of
from pltfrms.drivers.store.gateway import (
    HEADERS,
    answers_of,
    document_of,
    encode_bytes,
    make_client,
    refusal,
)
from pltfrms.drivers.store.ports import Condition, Delete, KeyValue, LeaseTime, Listing, Put
from pltfrms.drivers.store.posts import BrokenError, NotSentError, Posts, Tls
from pltfrms.drivers.store.renewals import Renewals
from pltfrms.drivers.store.transaction import check_transaction
from pltfrms.errors import NotFoundError, UnavailableError, UnclearError

_READ_ATTEMPT_SHARE = 0.5
"""Part of the whole time that one endpoint may use for a request that can be repeated, and of
what is left for who has not said yet of which store it is."""
_CONNECTIONS = 100
"""Requests that are asked at the same time; further ones wait."""
_LISTS = 20
"""Lists that are asked at the same time; further ones wait."""
PAGE_KEYS = 1000
"""Keys of one answer to a list, all at one revision: what is read at once must not be long."""


class _Patience:
    """How long a list may take: it is as large as the platform, and slow is not dead.

    It begins with the time of any other call, so that a hung member is passed over soon, and
    doubles each time when nobody answered in it. What answers makes it as long as is needed.
    """

    def __init__(self, shortest_seconds: float, longest_seconds: float) -> None:
        self.seconds = shortest_seconds
        self._shortest_seconds = shortest_seconds
        self._longest_seconds = longest_seconds

    def answered_after(self, seconds: float) -> None:
        self._set(4 * seconds)

    def failed_after(self, seconds: float) -> None:
        if seconds >= _READ_ATTEMPT_SHARE * self.seconds:
            self._set(2 * self.seconds)

    def _set(self, seconds: float) -> None:
        self.seconds = min(max(seconds, self._shortest_seconds), self._longest_seconds)


class EtcdStore:
    """A client of one etcd cluster.

    Asks the endpoint that answered last, else the next. All but a commit may be
    repeated, and goes on to the next endpoint after any failure; a commit only while it is
    certain that nothing was done, for a repeated one would fail its own conditions.

    Who answers first says which store it is (etcd's number of it). Members of another one are
    not believed, and no write is sent to who has not said it yet: after a recovery that made a
    new store, whoever asks begins anew.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        connect_timeout_seconds: float = 0.5,
        request_timeout_seconds: float = 2.5,
        list_timeout_seconds: float = 30.0,
        watch_silence_seconds: float = 30.0,
        tls: Tls | None = None,
    ) -> None:
        """Take base URLs such as `http://[fd00::1]:2379`; connects when first used.

        `tls` says what to show where one begins with `https:`.

        `request_timeout_seconds` bounds one call over all endpoints; a list gets more, up to
        `list_timeout_seconds`, while the store is slow. A watch that is silent
        for `watch_silence_seconds` ends, because its peer may be dead; the caller lists
        again (etcd 3.4's own progress notifications come every ten minutes only).
        """
        self._failover = Failover(endpoints, monotonic=time.monotonic)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._request_timeout_seconds = request_timeout_seconds
        self._watch_silence_seconds = watch_silence_seconds
        self._posts = Posts(HEADERS, connect_timeout_seconds, _CONNECTIONS, tls)
        self._patience = _Patience(request_timeout_seconds, list_timeout_seconds)
        self._lists = Posts(HEADERS, connect_timeout_seconds, _LISTS, tls)
        self._renewals = Renewals(self._keep_alive)
        self._watches: dict[str, httpx2.AsyncClient] = {}
        """By endpoint: what each is watched with."""
        self._former: list[httpx2.AsyncClient] = []
        self._store = ""
        """etcd's number of the store that we ask; empty: nobody has answered yet."""
        self._met = ""
        """Who answered last as one of its members; any other may be of another one by now."""

    def use(self, endpoints: Sequence[str]) -> None:
        """Ask at these base URLs from now on, by new connections; a watch stays where it is."""
        self._failover.use(endpoints)
        self._posts.forget()
        self._lists.forget()
        self._former += self._watches.values()
        self._watches = {}

    # ---- ports.Store -----------------------------------------------------------------------

    async def list(self, prefix: str, after: int = 0) -> Listing:
        """Return all entries whose key starts with `prefix`, written after a revision."""
        request = _range(prefix) | {"limit": str(PAGE_KEYS)}
        if after:  # etcd looks at all of them before it leaves any out, mostly all
            request |= {"min_mod_revision": str(after + 1)}
        answer = await self._page(request)
        first = _listing(answer)
        entries = list(first.entries)
        while answer.get("more"):
            begin = encode_bytes(f"{entries[-1].key}\0".encode())
            answer = await self._page(request | {"key": begin, "revision": str(first.revision)})
            entries += _listing(answer).entries
        return replace(first, entries=tuple(entries))

    async def _page(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        began = time.monotonic()
        try:
            answer = await self._call(
                "/v3/kv/range", request, repeatable=True, seconds=self._patience.seconds
            )
        except UnavailableError:
            self._patience.failed_after(time.monotonic() - began)
            raise
        self._patience.answered_after(time.monotonic() - began)
        return answer

    async def commit(
        self, writes: Sequence[Put | Delete], conditions: Sequence[Condition] = ()
    ) -> int | None:
        """Do all writes if all conditions hold; return the revision after it, or None.

        Raises:
            InvariantError: more than 100 writes + conditions, or a key written twice.
            NotFoundError: a lease does not exist any more; nothing was done.
            UnavailableError: no member took it; nothing was done.
            UnclearError: a member took it, and its answer was lost; or StoreFullError: there
                was no room for it.
        """
        check_transaction(writes, conditions)
        request = {
            "compare": [_compare(condition) for condition in conditions],
            "success": [_operation(write) for write in writes],
        }
        answer = await self._call("/v3/kv/txn", request, repeatable=False)
        return _revision(answer) if answer.get("succeeded") else None

    async def changes(self, prefix: str, after: int) -> AsyncIterator[int]:
        """Yield revisions > `after` that touched `prefix`.

        Ends normally when etcd ends it (compaction, loss of its leader) or after
        `watch_silence_seconds` without a change. Raises UnavailableError when no endpoint
        takes the watch or the connection breaks.
        """
        create = _range(prefix) | {"start_revision": str(after + 1)}
        async with contextlib.aclosing(self.watch({"create_request": create})) as answers:
            async for answer in answers:
                revisions = [int(event["kv"]["mod_revision"]) for event in _events(answer)]
                if revisions:
                    yield max(revisions)

    async def grant(self, ttl_seconds: int) -> int:
        """Make a lease and return its id; etcd lengthens a TTL below 1.5 election timeouts."""
        answer = await self._call("/v3/lease/grant", {"TTL": ttl_seconds}, repeatable=True)
        return int(answer["ID"])

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease; False if it does not exist any more."""
        return await self._renewals.renew(lease)

    async def _keep_alive(self, leases: Sequence[int]) -> Sequence[bool]:
        requests = [{"ID": str(lease)} for lease in leases]
        answers = await self._ask("/v3/lease/keepalive", requests, repeatable=True)
        return [int(answer.get("result", {}).get("TTL", 0)) > 0 for answer in answers]

    async def lease_time(self, lease: int) -> LeaseTime | None:
        """Return how long a lease still has, as its leader says; None if it does not exist."""
        answer = await self._call("/v3/lease/timetolive", {"ID": str(lease)}, repeatable=True)
        remaining = int(answer.get("TTL", 0))
        granted = int(answer.get("grantedTTL", 0))
        if remaining < 0 or not granted:
            return None
        return LeaseTime(remaining_seconds=remaining, granted_seconds=granted)

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys; one that does not exist is not an error."""
        with contextlib.suppress(NotFoundError):
            await self._call("/v3/lease/revoke", {"ID": str(lease)}, repeatable=True)

    # ---- ports.Gateway ---------------------------------------------------------------------

    async def ask(
        self, path: str, question: Mapping[str, Any], *, repeatable: bool
    ) -> Mapping[str, Any]:
        """Return what etcd answers; see `ports.Gateway`."""
        return await self._call(path, question, repeatable=repeatable)

    async def watch(self, question: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
        """Yield what etcd says until it ends it, or says nothing for long."""
        async with contextlib.AsyncExitStack() as stack:
            response = await self._open_watch(stack, question)
            lines = response.aiter_lines()
            while (line := await self._next_line(lines)) is not None:
                answer = document_of(line).get("result")
                if answer is None:
                    return
                if why := self._why_strange(answer):
                    raise UnavailableError(f"the watch is {why}")
                yield answer
                if answer.get("canceled"):
                    return

    async def close(self) -> None:
        """Release connections."""
        await self._renewals.close()
        await self._posts.close()
        await self._lists.close()
        for client in (*self._watches.values(), *self._former):
            await client.aclose()

    # ---- one request over several endpoints ------------------------------------------------

    async def _call(
        self, path: str, request: Mapping[str, Any], *, repeatable: bool, seconds: float = 0.0
    ) -> Mapping[str, Any]:
        (answer,) = await self._ask(path, [request], repeatable=repeatable, seconds=seconds)
        return answer

    async def _ask(
        self,
        path: str,
        requests: Sequence[Mapping[str, Any]],
        *,
        repeatable: bool,
        seconds: float = 0.0,
    ) -> Sequence[Mapping[str, Any]]:
        """Return the answers to one request, or to each of a stream of them."""
        posts = self._lists if seconds else self._posts
        body = "\n".join(json.dumps(each, separators=(",", ":")) for each in requests).encode()
        whole_seconds = seconds or self._request_timeout_seconds
        deadline = time.monotonic() + whole_seconds
        longest_seconds = (_READ_ATTEMPT_SHARE if repeatable else 1.0) * whole_seconds
        problems: dict[str, str] = {}
        for endpoint in self._failover.order():
            seconds = min(longest_seconds, deadline - time.monotonic())
            if seconds <= 0:
                break
            try:
                if not repeatable and self._store and endpoint != self._met:
                    await self._meet(endpoint, _READ_ATTEMPT_SHARE * seconds)
                    seconds = deadline - time.monotonic()
                said = await posts.ask(endpoint, path, body, seconds)
                answers = self._ours(said, len(requests))
            except NotSentError as error:
                problems[endpoint] = str(error)
            except BrokenError as error:
                problems[endpoint] = str(error)
                if not repeatable:
                    self._failed(endpoint)
                    raise UnclearError(
                        f"the store took a write but did not answer ({_grouped(problems)}); it "
                        "may or may not be done"
                    ) from error
            else:
                self._failover.answered(endpoint)
                self._met = endpoint
                return answers
            self._failed(endpoint)
        raise _unavailable(problems)

    def _failed(self, endpoint: str) -> None:
        """Note that an endpoint did not answer: it may be another member when it does."""
        self._failover.failed(endpoint)
        self._met = "" if endpoint == self._met else self._met

    async def _meet(self, endpoint: str, seconds: float) -> None:
        """Ask an endpoint of which store it is before anything is written there."""
        request = {"key": encode_bytes(b"/"), "keys_only": True, "serializable": True}
        body = json.dumps(request).encode()
        try:
            self._ours(await self._posts.ask(endpoint, "/v3/kv/range", body, seconds), 1)
        except BrokenError as error:
            raise NotSentError(str(error)) from error

    def _ours(self, said: tuple[int, bytes], count: int) -> Sequence[Mapping[str, Any]]:
        """Return so many answers; BrokenError if there are others, or of another store."""
        answers = answers_of(*said)
        if why := next(filter(None, map(self._why_strange, answers)), ""):
            raise BrokenError(why)
        if len(answers) != count:
            raise BrokenError(f"{len(answers)} answers to {count} questions")
        return answers

    def _why_strange(self, answer: Mapping[str, Any]) -> str:
        """Return why an answer is not of the store that we ask; empty: it is."""
        header = answer.get("header") or answer.get("result", {}).get("header", {})
        found = str(header.get("cluster_id", ""))
        self._store = self._store or found
        if found in {"", self._store}:
            return ""
        return (
            f"of another store ({found}, not {self._store}); if the store was made anew on "
            "purpose, start anew what asks here"
        )

    async def _open_watch(
        self, stack: contextlib.AsyncExitStack, request: Mapping[str, Any]
    ) -> httpx2.Response:
        """Return the response of the first endpoint that takes the watch."""
        problems: dict[str, str] = {}
        for endpoint in self._failover.order():
            try:
                return await self._watch_at(endpoint, stack, request)
            except (
                httpx2.RequestError,
                OSError,  # also of TLS, which the library lets through
                NotSentError,
                BrokenError,
            ) as error:
                problems[endpoint] = sentence_of(error)
                self._failover.failed(endpoint)
        raise _unavailable(problems)

    async def _watch_at(
        self, endpoint: str, stack: contextlib.AsyncExitStack, request: Mapping[str, Any]
    ) -> httpx2.Response:
        timeout = httpx2.Timeout(
            self._request_timeout_seconds,
            connect=self._connect_timeout_seconds,
            read=self._watch_silence_seconds,
        )
        stream = self._watcher(endpoint).stream(
            "POST", f"{endpoint}/v3/watch", json=request, timeout=timeout
        )
        # etcd sends the headers together with its first message, `created`.
        async with asyncio.timeout(_READ_ATTEMPT_SHARE * self._request_timeout_seconds):
            response = await stack.enter_async_context(stream)
            if response.status_code != HTTPStatus.OK:
                raise refusal(response.status_code, (await response.aread()).decode())
        self._failover.answered(endpoint)
        return response

    def _watcher(self, endpoint: str) -> httpx2.AsyncClient:
        if endpoint not in self._watches:
            end = self._posts.end_of(endpoint)
            self._watches[endpoint] = make_client(end.context if end else None)
        return self._watches[endpoint]

    async def _next_line(self, lines: AsyncIterator[str]) -> str | None:
        """Return the next message of a watch; None when it ended or stayed silent."""
        try:
            return await anext(lines, None)
        except httpx2.ReadTimeout:
            return None
        except (httpx2.RequestError, OSError) as error:
            raise UnavailableError(f"the watch broke: {sentence_of(error)}") from error


# ---- etcd's JSON ---------------------------------------------------------------------------


def _range(prefix: str) -> dict[str, str]:
    """Return the key range of a prefix; the empty prefix is everything."""
    raw = prefix.encode()
    # UTF-8 has no byte 0xff, so the last byte can always be incremented.
    end = raw[:-1] + bytes([raw[-1] + 1]) if raw else b"\0"
    return {"key": encode_bytes(raw or b"\0"), "range_end": encode_bytes(end)}


def _compare(condition: Condition) -> dict[str, str]:
    return {
        "key": encode_bytes(condition.key.encode()),
        "target": "MOD",
        "result": "EQUAL",
        "mod_revision": str(condition.mod_revision),
    }


def _operation(write: Put | Delete) -> dict[str, dict[str, str]]:
    key = encode_bytes(write.key.encode())
    if isinstance(write, Delete):
        return {"request_delete_range": {"key": key}}
    return {
        "request_put": {
            "key": key,
            "value": encode_bytes(write.value),
            "lease": str(write.lease),
        }
    }


def _entry(kv: Mapping[str, str]) -> KeyValue:
    return KeyValue(
        key=b64decode(kv["key"]).decode(),
        value=b64decode(kv.get("value", "")),
        mod_revision=int(kv["mod_revision"]),
        lease=int(kv.get("lease", 0)),
    )


def _listing(answer: Mapping[str, Any]) -> Listing:
    return Listing(
        revision=_revision(answer),
        entries=tuple(_entry(kv) for kv in answer.get("kvs", ())),
        total=int(answer.get("count", 0)),
    )


def _events(answer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    events: Sequence[Mapping[str, Any]] = answer.get("events", ())
    return events


def _revision(answer: Mapping[str, Any]) -> int:
    return int(answer["header"]["revision"])


# ---- failures ------------------------------------------------------------------------------


def _grouped(problems: Mapping[str, str]) -> str:
    """Return what endpoints answered, each answer once, after the endpoints that gave it."""
    by_answer: dict[str, list[str]] = {}
    for endpoint, answer in problems.items():
        by_answer.setdefault(answer, []).append(endpoint)
    return "; ".join(f"{', '.join(some)}: {answer}" for answer, some in by_answer.items())


def _unavailable(problems: Mapping[str, str]) -> UnavailableError:
    return UnavailableError(
        f"the store does not answer ({_grouped(problems) or 'no time left to ask'}). "
        "Check that a majority of the etcd members runs and is reachable"
    )
