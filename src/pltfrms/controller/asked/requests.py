"""Change requests: what one operator asks for and another one approves, kept in the store."""

from collections.abc import Iterable
from dataclasses import replace

from pltfrms.codec import decode_fully, encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.planning.judging import (
    Approved,
    basis_of,
    require_allowed,
    require_role,
    signed,
)
from pltfrms.controller.records.auditing import NOBODY, Asked
from pltfrms.controller.records.documents import read_documents
from pltfrms.controller.records.journal import BATCH_COUNT
from pltfrms.controller.records.state import REQUESTS, request_key
from pltfrms.drivers.operators.ports import Signatures
from pltfrms.drivers.store.ports import Condition, Delete, KeyValue, Put
from pltfrms.errors import ConflictError, ForbiddenError, NotFoundError, UsageError
from pltfrms.model.messages.api import (
    Change,
    InterventionChange,
    InterventionReply,
    PlanPreview,
)
from pltfrms.model.messages.requests import (
    LONGEST_MS,
    REQUESTS_MAX,
    TEXT_BYTES_MAX,
    ChangeRequest,
    RequestReply,
    RequestState,
    Signed,
    Wanted,
    Withdrawal,
    request_id,
)
from pltfrms.planner.changes.two_people import wanted_sentence
from pltfrms.planner.identity.roles import Known


class Requests:
    """The verbs of change requests. All raise UnavailableError when the store is away."""

    def __init__(self, operations: Operations, signatures: Signatures) -> None:
        """Do what is approved by `operations`, and find out who signed by `signatures`."""
        controller = operations.controller
        self._operations = operations
        self._signatures = signatures
        self._store = controller.store
        self._clock = controller.clock
        self._view = controller.view
        self._journal = controller.journal
        self._records = operations.records
        self._insisting = controller.insisting

    async def open(self, asked: Signed, asker: Asked = NOBODY) -> RequestReply:
        """Keep what an operator wants until another one approves it; twice is once.

        Raises:
            UsageError: the text or its signature is wrong, one operator is enough for it, or
                it would change nothing.
            ConflictError: a guard forbids it that it does not name, or it is done already.
            ForbiddenError: it is not for the role of who signed it.
        """
        wanted = self._read(asked.text)
        snapshot = await self._view.linearized()
        if wanted.platform != snapshot.platform.name:
            what = f"it is for platform {wanted.platform}; this is {snapshot.platform.name}"
            raise UsageError(what)
        operators = snapshot.platform.operators
        by = await self._signatures.signer(asked.text, asked.signature, operators)
        _require_same(asker, by)
        entries = await self._entries()
        known = entries.get(request_id(asked.text))
        if known:
            request = _request(known)
            self._require_open(request)
            return await self._tried(request, wanted)
        self._require_room(entries.values())
        request = ChangeRequest(
            id=request_id(asked.text),
            text=asked.text,
            signature=asked.signature,
            by=by,
            about=wanted_sentence(wanted),
            basis=basis_of(snapshot, wanted),
            at_ms=self._clock.unix_ms(),
            expires_ms=wanted.expires_ms,
        )
        reply = await self._tried(request, wanted)
        _require_worth(reply, wanted)
        signed_by = Asked(by=by, proved=Known.LOGIN)
        overrides = bool((wanted.change or _intervention(wanted)).despite)
        about = _about(reply)
        require_role(snapshot.platform, signed_by, None, about, overrides=overrides)
        await self._keep(request, entries, asker.origin)
        return reply

    async def all(self) -> tuple[ChangeRequest, ...]:
        """Return all that have not expired, oldest first, without their texts.

        A text may have passwords of sessions in it: only who asks for a request gets it.
        What cannot be read is UNREADABLE, and hides no other.
        """
        requests = map(_request, (await self._entries()).values())
        left = [replace(each, text="") for each in requests if not self._is_over(each)]
        return tuple(sorted(left, key=lambda each: each.at_ms))

    async def show(self, request: str) -> RequestReply:
        """Return a request, and while it is open what it would do now.

        Raises:
            NotFoundError: there is no such request; it may have expired.
            ConflictError: it cannot be read.
        """
        found, _ = await self._found(request)
        if found.state is RequestState.UNREADABLE:
            self._require_open(found)
        if found.state is not RequestState.OPEN:
            return RequestReply(request=found)
        return await self._tried(found, decode_fully(Wanted, found.text))

    async def approve(
        self, request: str, signature: str, asker: Asked = NOBODY
    ) -> RequestReply:
        """Do what an operator asked for, because another one says yes too.

        Raises:
            NotFoundError: there is no such request; it may have expired.
            UsageError: it is not signed by another operator than who asked.
            ForbiddenError: it is not for the role of one of both.
            ConflictError: it is closed, what it changes has changed since it was asked for, or
                a guard forbids it meanwhile.
        """
        found, entry = await self._found(request)
        self._require_open(found)
        snapshot = await self._view.linearized()
        operators = snapshot.platform.operators
        second = await self._signatures.signer(found.text, signature, operators)
        _require_same(asker, second)
        first = await self._signatures.signer(found.text, found.signature, operators)
        if second == first:
            raise UsageError(f"{first} has asked for it: somebody else must approve it")
        wanted = decode_fully(Wanted, found.text)
        closed = replace(found, by=first, state=RequestState.APPROVED, closed_by=second)
        approved = Approved(request=closed, wanted=wanted, mod_revision=entry.mod_revision)
        reply = await self._done(wanted, approved, asker)
        if not _changes(reply):
            raise ConflictError("nothing is left to do: it is so already; withdraw it")
        return reply

    async def withdraw(
        self, request: str, said: Withdrawal, asker: Asked = NOBODY
    ) -> ChangeRequest:
        """Close a request without doing it; ConflictError if it is closed already.

        One that cannot be read is removed.
        """
        who = replace(asker, by=asker.by or said.by, why=said.why)

        async def attempt() -> ChangeRequest | None:
            found, entry = await self._found(request)
            unreadable = found.state is RequestState.UNREADABLE
            if not unreadable:
                self._require_open(found)
            closed = replace(found, state=RequestState.WITHDRAWN, closed_by=who.by)
            event = self._journal.tell(
                f"request/{found.id}",
                "request withdrawn",
                detail=signed(found.about, who.by),
            )
            key = request_key(found.id)
            close = Delete(key=key) if unreadable else Put(key=key, value=encode(closed))
            line = f"{found.id}: {found.about}"
            sealed = await self._records.seal("withdraw", (line,), who)
            writes = [close, self._journal.put(event), *sealed.writes]
            condition = Condition(key=key, mod_revision=entry.mod_revision)
            committed = await self._store.commit(writes, (condition, sealed.condition))
            return None if committed is None else closed

        return await self._insisting.until_done(attempt)

    # ---- reading ---------------------------------------------------------------------------

    def _read(self, text: str) -> Wanted:
        if len(text.encode()) > TEXT_BYTES_MAX:
            raise UsageError(f"the request is larger than {TEXT_BYTES_MAX} bytes")
        wanted = decode_fully(Wanted, text)
        if (wanted.change is None) == (wanted.intervention is None):
            raise UsageError("a request has either a change or an intervention")
        if wanted.change and wanted.change.revision is not None:
            raise UsageError("a request is not bound to a revision: leave it out")
        if wanted.intervention and wanted.intervention.dry_run:
            raise UsageError("a dry run needs nobody's approval")
        left_ms = wanted.expires_ms - self._clock.unix_ms()
        if not 0 < left_ms <= LONGEST_MS:
            raise UsageError(f"a request expires within {LONGEST_MS // 3_600_000} hours")
        return wanted

    async def _entries(self) -> dict[str, KeyValue]:
        listing = await self._store.list(REQUESTS)
        return {entry.key.removeprefix(REQUESTS): entry for entry in listing.entries}

    async def _found(self, request: str) -> tuple[ChangeRequest, KeyValue]:
        entries = await self._entries()
        entry = entries.get(request)
        found = _request(entry) if entry else None
        if not entry or not found or self._is_over(found):
            there = ", ".join(each.id for each in await self.all()) or "none"
            raise NotFoundError(f"there is no request {request!r} any more; there are: {there}")
        return found, entry

    def _is_over(self, request: ChangeRequest) -> bool:
        """Whether a request has expired; of one that cannot be read nobody knows."""
        readable = request.state is not RequestState.UNREADABLE
        return readable and request.expires_ms <= self._clock.unix_ms()

    def _require_room(self, entries: Iterable[KeyValue]) -> None:
        count = sum(not self._is_over(_request(entry)) for entry in entries)
        if count >= REQUESTS_MAX:
            raise ConflictError(
                f"{count} requests are kept until they expire, within 24 hours: no more are "
                "taken; remove those that cannot be read, or wait"
            )

    def _require_open(self, request: ChangeRequest) -> None:
        if request.state is RequestState.UNREADABLE:
            raise ConflictError(
                f"{request.about}. Ask a controller of another release, or withdraw it"
            )
        if request.state is not RequestState.OPEN:
            raise ConflictError(
                f"request {request.id} is closed: {request.closed_by} has "
                f"{'approved it' if request.state is RequestState.APPROVED else 'withdrawn it'}"
            )

    # ---- doing -----------------------------------------------------------------------------

    async def _tried(self, request: ChangeRequest, wanted: Wanted) -> RequestReply:
        if wanted.change:
            preview = await self._operations.plan(wanted.change)
            return RequestReply(request=request, preview=preview)
        reply = await self._operations.intervene(replace(_intervention(wanted), dry_run=True))
        return RequestReply(request=request, reply=reply)

    async def _done(self, wanted: Wanted, approved: Approved, asker: Asked) -> RequestReply:
        if wanted.change:
            change = replace(wanted.change, by=approved.who)
            preview = await self._operations.apply(change, approved, asker)
            return RequestReply(request=approved.request, preview=preview)
        intervention = replace(_intervention(wanted), by=approved.who)
        reply = await self._operations.intervene(intervention, approved, asker)
        return RequestReply(request=approved.request, reply=reply)

    async def _keep(
        self, request: ChangeRequest, entries: dict[str, KeyValue], origin: str
    ) -> None:
        key = request_key(request.id)
        event = self._journal.tell(
            f"request/{request.id}", "request opened", detail=signed(request.about, request.by)
        )
        expired = [
            Delete(key=entry.key)
            for entry in entries.values()
            if self._is_over(_request(entry))
        ]
        kept = (Put(key=key, value=encode(request)), self._journal.put(event))
        asked = Asked(by=request.by, proved="signature", origin=origin)
        sealed = await self._records.seal("request", (f"{request.id}: {request.about}",), asked)
        writes: list[Put | Delete] = [*kept, *expired[:BATCH_COUNT], *sealed.writes]
        absent = Condition(key=key, mod_revision=0)
        if await self._store.commit(writes, (absent, sealed.condition)) is None:
            raise ConflictError("somebody wrote at the same time; ask again")


def _request(entry: KeyValue) -> ChangeRequest:
    """Return the request that an entry holds; one that cannot be read is UNREADABLE."""
    documents = read_documents(ChangeRequest, (entry,), fully=True)
    for problem in documents.problems.values():
        return ChangeRequest(
            id=entry.key.removeprefix(REQUESTS),
            text="",
            signature="",
            by="",
            about=problem,
            basis="",
            at_ms=0,
            expires_ms=0,
            state=RequestState.UNREADABLE,
        )
    return documents.words[entry.key]


def _intervention(wanted: Wanted) -> InterventionChange:
    if wanted.intervention is None:
        raise UsageError("the request has neither a change nor an intervention")
    return wanted.intervention


def _require_same(asker: Asked, signer: str) -> None:
    """Refuse a signature of somebody else than who has logged in."""
    if asker.proved == Known.LOGIN and asker.by != signer:
        raise ForbiddenError(f"{asker.by} has logged in, and {signer} has signed it")


def _about(reply: RequestReply) -> list[str]:
    """Return what a request would change, as roles have it."""
    lines = reply.preview.changes if reply.preview else ()
    return [line.about for line in lines] or ["network"]


def _changes(reply: RequestReply) -> bool:
    return bool(
        (reply.preview and reply.preview.changes) or (reply.reply and reply.reply.changed)
    )


def _require_worth(reply: RequestReply, wanted: Wanted) -> None:
    """Refuse what one operator can do alone, what does nothing, and what guards forbid."""
    what: PlanPreview | InterventionReply | None = reply.preview or reply.reply
    ask: Change | InterventionChange | None = wanted.change or wanted.intervention
    if what is None or ask is None or not _changes(reply):
        raise UsageError("nothing to do: it is so already")
    require_allowed(what.verdicts, ask.despite)
    if not what.two_people:
        raise UsageError("one operator is enough for it: do it, without a request")
