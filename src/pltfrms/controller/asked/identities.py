"""Machines that join, renew their certificates, come back, and are revoked.

/pltfrms-identity/machines/NAME     MachineKey
/pltfrms-identity/tokens/NAME       TokenNote
/pltfrms-identity/signers/NAME      SigningNote, of controllers that can sign
/pltfrms-identity/roots             RootNotes
They are apart from `/pltfrms/`: nothing that is planned depends on them.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Final, TypeVar

import structlog

from pltfrms.codec import encode
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.records.auditing import NOBODY, Asked, AuditLog
from pltfrms.controller.records.documents import read_documents
from pltfrms.controller.records.state import (
    IDENTITIES,
    MACHINE_KEYS,
    ROOTS_KEY,
    SIGNERS,
    TOKENS,
)
from pltfrms.drivers.identity.ports import Signer
from pltfrms.drivers.log import SpareLog
from pltfrms.drivers.store.ports import Condition, Delete, KeyValue, Put
from pltfrms.drivers.store.watching import Mirror
from pltfrms.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PltfrmsError,
    UnavailableError,
)
from pltfrms.model.identity.lives import Life
from pltfrms.model.identity.words import (
    Certified,
    JoinAsk,
    JoinToken,
    LeaveAsk,
    MachineKey,
    NonceReply,
    RenewalAsk,
    ReturnAsk,
    RootNote,
    RootNotes,
    Roots,
    ShownCertificate,
    SigningNote,
    TokenAsk,
    TokenNote,
    TokenReply,
    return_text,
)
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.planner.identity.access import Access, decide_access, why_unsigned, why_void
from pltfrms.planner.identity.roots import AgreedRoots, agree_on_roots
from pltfrms.planner.identity.tokens import TOKEN_MS, why_no_join

NONCE_SECONDS: Final = 60.0
NONCES_MAX: Final = 1000
"""Of machines that come back at once; the oldest is forgotten for one more."""
LOOK_SECONDS: Final = 2.0
_TRIES: Final = 8
_AGAIN_SECONDS: Final = 0.05
"""Records of the audit are written one after the other, whoever else writes one."""
_REVOKE: Final = "revoke"
_RESYNC_SECONDS = 10.0

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Identities:
    """Who our machines are, by what the store holds.

    All raise UnavailableError while it does not answer.
    """

    def __init__(self, controller: Controller, signer: Signer, random: Random) -> None:
        """Sign with `signer`; know nobody until `run` runs."""
        self._controller = controller
        self._signer = signer
        self._store = controller.store
        self._clock = controller.clock
        self._journal = controller.journal
        self._mirror = Mirror(
            controller.store,
            IDENTITIES,
            controller.clock,
            random=random,
            resync_seconds=_RESYNC_SECONDS,
        )
        self._random = random
        self._records = AuditLog(controller.store, controller.clock, controller.name)
        self._said = SpareLog(_log.warning, controller.clock.monotonic)
        self._known: tuple[int, Mapping[str, MachineKey]] | None = None
        self._nonces: dict[str, tuple[str, float]] = {}

    async def run(self) -> None:
        """Know all identities, and revoke those of machines that were removed."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run())
            group.create_task(self._revoke_removed())

    # ---- who is let in ---------------------------------------------------------------------

    def access(self, method: str, path: str, shown: ShownCertificate | None) -> Access:
        """Return whether a question is let in; UnavailableError while nobody can say."""
        return decide_access(method, path, shown, self._platform(), self._keys())

    def why_void(self, shown: ShownCertificate) -> str:
        """Return why a certificate that TLS has verified is of no machine; empty: it is."""
        try:
            return why_void(shown, self._platform(), self._keys())
        except UnavailableError as error:
            return str(error)

    def signs(self, issuer: str) -> bool:
        """Return whether an authority is of a controller, as far as that is known."""
        platform = self._controller.view.last_stored().platform
        return platform is None or not why_unsigned(issuer, platform)

    def _platform(self) -> Platform:
        platform = self._controller.view.last_stored().platform
        if platform is None:
            raise UnavailableError("the store holds no platform yet; try again soon")
        return platform

    def _keys(self) -> Mapping[str, MachineKey]:
        listing = self._mirror.listing
        if listing is None:
            raise UnavailableError(
                "this controller does not know yet which machines have joined; ask another one"
            )
        if self._known is None or self._known[0] != listing.revision:
            self._known = (listing.revision, _words(MachineKey, MACHINE_KEYS, listing.entries))
        return self._known[1]

    def known_key(self, name: str) -> MachineKey | None:
        """Return the key of a machine as it was known last; UnavailableError: nothing is."""
        return self._keys().get(name)

    # ---- tokens ----------------------------------------------------------------------------

    def roots(self) -> Roots:
        """Return whom our machines trust; who asks compares it with its token."""
        return Roots(platform=self._signer.platform, roots=self._signer.roots)

    async def make_token(self, ask: TokenAsk, asked: Asked = NOBODY) -> TokenReply:
        """Return a token for a machine; one that was not used yet is void from now on.

        Raises:
            NotFoundError: the platform has no such machine.
            ConflictError: it is to be void what the machine has, and it joins just now, or
                nobody else can sign.
        """
        await self._machine(ask.machine)
        entry = await self._entry(f"{MACHINE_KEYS}{ask.machine}") if ask.void else None
        key = self._void(_word(MachineKey, entry))
        if key:
            await self._require_another_signer(ask.machine)
        what = "what it had is void, and join token made" if key else "join token made"
        secret = self._signer.new_secret()
        expires_ms = self._clock.unix_ms() + TOKEN_MS
        note = TokenNote(machine=ask.machine, digest=_digest(secret), expires_ms=expires_ms)
        asked = replace(asked, by=asked.by or ask.by)
        same = (_unchanged(f"{MACHINE_KEYS}{ask.machine}", entry),) if key else ()
        await self._commit(
            ask.machine, what, ("token", asked), token=note, key=key, conditions=same
        )
        token = JoinToken(machine=ask.machine, secret=secret, pin=self._signer.pin)
        return TokenReply(token=token.text, expires_ms=expires_ms, void=ask.void)

    async def join(self, ask: JoinAsk, origin: str = "") -> Certified:
        """Return the first certificate of a machine; with another key, older ones are void.

        Raises:
            ForbiddenError: the token does not let it in.
            ConflictError: somebody else used it at the same time.
            NotFoundError: the platform has no such machine any more.
        """
        machine = await self._machine(ask.machine)
        public_key = self._signer.public_key_of(ask.request)
        token = await self._entry(f"{TOKENS}{ask.machine}")
        note = _word(TokenNote, token)
        now_ms = self._clock.unix_ms()
        refusal = why_no_join(note, _digest(ask.secret), public_key, now_ms)
        if refusal or note is None:
            about = f"{ask.machine} {refusal}"
            self._said.say(
                "join refused", about, machine=ask.machine, origin=origin, why=refusal
            )
            raise ForbiddenError(refusal)
        known = await self._entry(f"{MACHINE_KEYS}{ask.machine}")
        before = _word(MachineKey, known)
        again = before is not None and before.public_key == public_key
        joins = (before.joins if before else 0) + (not again)
        made = self._issue(machine, ask.request, joins)
        await self._commit(
            ask.machine,
            "machine joined",
            ("join", Asked(by=ask.machine, proved="token", origin=origin)),
            token=TokenNote(
                machine=note.machine,
                digest=note.digest,
                expires_ms=note.expires_ms,
                used_by=public_key,
            ),
            key=MachineKey(
                machine=ask.machine, joins=joins, public_key=public_key, at_ms=now_ms
            ),
            conditions=(
                _unchanged(f"{TOKENS}{ask.machine}", token),
                _unchanged(f"{MACHINE_KEYS}{ask.machine}", known),
            ),
        )
        return made

    async def leave(self, ask: LeaveAsk, origin: str = "") -> None:
        """Make void what a machine has that leaves; a second time nothing is done.

        Raises:
            ConflictError: it joins again at the same time.
            NotFoundError: the platform has no such machine any more.
        """
        await self._machine(ask.machine)
        entry = await self._entry(f"{MACHINE_KEYS}{ask.machine}")
        key = self._void(_word(MachineKey, entry))
        if key:
            asked = Asked(by=ask.machine, proved="certificate", origin=origin)
            await self._commit(
                ask.machine,
                "machine has left",
                (_REVOKE, asked),
                key=key,
                conditions=(_unchanged(f"{MACHINE_KEYS}{ask.machine}", entry),),
            )

    async def _require_another_signer(self, name: str) -> None:
        """Refuse to make void who alone can sign: no machine could join in its place."""
        now_ms = self._clock.unix_ms()
        signing = {each.controller for each in await self._signers() if each.until_ms > now_ms}
        if signing == {name}:
            raise ConflictError(
                f"of the controllers only {name} can sign certificates, and no machine could "
                "join in its place; have another one sign first, there: "
                "`pltfrms controller authority --root-key FILE`"
            )

    def _void(self, key: MachineKey | None) -> MachineKey | None:
        """Return what makes a key void; None if there is none that is good."""
        if key is None or not key.public_key:
            return None
        return replace(key, public_key="", at_ms=self._clock.unix_ms())

    # ---- certificates ----------------------------------------------------------------------

    async def renew(self, ask: RenewalAsk) -> Certified:
        """Return a younger certificate to a machine that TLS knows.

        Raises:
            ForbiddenError: it is for another key than the machine has joined with.
            NotFoundError: the platform has no such machine any more.
        """
        machine, key = await self._machine(ask.machine), await self._key(ask.machine)
        return self._issue(machine, self._same_key(key, ask.request), key.joins)

    def nonce(self, name: str) -> NonceReply:
        """Return what a machine is to sign within a minute, to show that it has its key."""
        now = self._clock.monotonic()
        live = {text: it for text, it in self._nonces.items() if it[1] > now}
        self._nonces = dict(list(live.items())[-NONCES_MAX + 1 :])
        nonce = self._signer.new_secret()
        self._nonces[nonce] = (name, now + NONCE_SECONDS)
        return NonceReply(nonce=nonce)

    async def give_back(self, ask: ReturnAsk) -> Certified:
        """Return a certificate to a machine whose own has expired, and that has its key.

        Raises:
            ForbiddenError: it does not show that it has the key with which it has joined.
            NotFoundError: the platform has no such machine any more.
        """
        name, until = self._nonces.pop(ask.nonce, ("", 0.0))
        if name != ask.machine or until <= self._clock.monotonic():
            raise ForbiddenError("the nonce is not valid any more; ask for another one")
        machine, key = await self._machine(name), await self._key(name)
        text = return_text(name, ask.nonce)
        if not self._signer.is_signed(text, ask.signature, key.public_key):
            self._said.say("return refused", name, machine=name)
            raise ForbiddenError(f"it is not signed with the key with which {name} has joined")
        made = self._issue(machine, self._same_key(key, ask.request), key.joins)
        await self._commit(name, "machine has come back with its key")
        return made

    async def adopt(self, name: str, public_key: str) -> None:
        """Know the key of this controller's own machine, unless one is known already."""
        key = f"{MACHINE_KEYS}{name}"
        if await self._entry(key) is None:
            first = MachineKey(
                machine=name, joins=1, public_key=public_key, at_ms=self._clock.unix_ms()
            )
            await self._commit(
                name, "machine joined", key=first, conditions=(_unchanged(key, None),)
            )

    async def note_signing(self, name: str) -> None:
        """Have all know whether this controller can sign: who does so alone must stay."""
        key, life = f"{SIGNERS}{name}", self._signer.life
        known = await self._entry(key)
        before = _words(SigningNote, SIGNERS, (known,) if known else ()).get(name)
        now_ms = self._clock.unix_ms()
        note = _signing(name, life, self._signer.pin, before, now_ms) if life else None
        value = encode(note) if note else None
        if (known.value if known else None) != value:
            write = Put(key=key, value=value) if value else Delete(key=key)
            await self._store.commit([write], [_unchanged(key, known)])

    async def agree(self, kept: Sequence[RootNote]) -> AgreedRoots:
        """Return what all controllers trust from now on, with what this one keeps.

        Raises:
            ConflictError: another one changed it at the same time; ask again.
        """
        entry = await self._entry(ROOTS_KEY)
        notes = _word(RootNotes, entry)
        stored = notes.roots if notes else ()
        signers = await self._signers()
        agreed = agree_on_roots(stored, kept, signers, self._clock.unix_ms())
        if agreed.roots != stored:
            put = Put(key=ROOTS_KEY, value=encode(RootNotes(roots=agreed.roots)))
            if not await self._store.commit([put], [_unchanged(ROOTS_KEY, entry)]):
                raise _taken("the roots")
        return agreed

    async def _signers(self) -> list[SigningNote]:
        """Return what controllers of the platform have told of that they can sign."""
        controllers = {each.name for each in self._platform().machines_of(Role.CONTROLLER)}
        told = _words(SigningNote, SIGNERS, (await self._store.list(SIGNERS)).entries)
        return [told[name] for name in sorted(told.keys() & controllers)]

    def _issue(self, machine: Machine, request: str, joins: int) -> Certified:
        return self._signer.issue(
            request, machine.name, joins, controller=machine.has(Role.CONTROLLER)
        )

    def _same_key(self, key: MachineKey, request: str) -> str:
        if self._signer.public_key_of(request) != key.public_key:
            raise ForbiddenError(
                f"{key.machine} has joined with another key; to change it, join again"
            )
        return request

    # ---- the store -------------------------------------------------------------------------

    async def _machine(self, name: str) -> Machine:
        platform = (await self._controller.view.linearized()).platform
        for machine in platform.managed:
            if machine.name == name:
                return machine
        raise NotFoundError(f"{platform.name} has no machine {name!r} with an agent")

    async def _key(self, name: str) -> MachineKey:
        key = _word(MachineKey, await self._entry(f"{MACHINE_KEYS}{name}"))
        if key is None or not key.public_key:
            raise ForbiddenError(f"{name} has not joined; make a token for it")
        return key

    async def _entry(self, key: str) -> KeyValue | None:
        listing = await self._store.list(key)
        return next((entry for entry in listing.entries if entry.key == key), None)

    async def _commit(
        self,
        name: str,
        what: str,
        record: tuple[str, Asked] | None = None,
        *,
        token: TokenNote | None = None,
        key: MachineKey | None = None,
        conditions: tuple[Condition, ...] = (),
    ) -> None:
        """Write, with an event, and a record of the audit: a verb, and who asked."""
        verb, asked = record or ("", Asked())
        detail = f"by {asked.by}" if asked.by and not asked.proved else ""
        event = self._journal.tell(f"machine/{name}", what, detail=detail)
        writes: list[Put | Delete] = [self._journal.put(event)]
        writes += [Put(key=f"{TOKENS}{name}", value=encode(token))] if token else []
        writes += [Put(key=f"{MACHINE_KEYS}{name}", value=encode(key))] if key else []
        if not token and verb == _REVOKE:  # one that is left would let it in once more
            writes.append(Delete(key=f"{TOKENS}{name}"))
        if verb == _REVOKE or (key and not key.public_key):  # it can sign for nobody any more
            writes.append(Delete(key=f"{SIGNERS}{name}"))
        if not record:
            if await self._store.commit(writes, conditions):
                return
            raise _taken(name)
        for _ in range(_TRIES):
            sealed = await self._records.seal(verb, (f"machine/{name}: {what}",), asked)
            if await self._store.commit(
                [*writes, *sealed.writes], (*conditions, sealed.condition)
            ):
                return
            await self._clock.sleep(self._random.uniform(0, _AGAIN_SECONDS))
        raise _taken(name)

    async def _revoke_removed(self) -> None:
        """Make void for good what machines have that are not in the platform any more."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            try:
                managed = {each.name for each in self._platform().managed}
                keys = {name for name, key in self._keys().items() if key.public_key}
                for name in sorted((keys | self._with_token()) - managed):
                    await self._revoke(name)
            except PltfrmsError as error:
                _log.warning("not revoked yet", error=str(error))

    def _with_token(self) -> set[str]:
        """Return for which machines there is a token, be it used."""
        entries = self._mirror.listing.entries if self._mirror.listing else ()
        keys = (entry.key for entry in entries)
        return {key.removeprefix(TOKENS) for key in keys if key.startswith(TOKENS)}

    async def _revoke(self, name: str) -> None:
        try:
            await self._machine(name)
        except NotFoundError:
            entry = await self._entry(f"{MACHINE_KEYS}{name}")
            token = await self._entry(f"{TOKENS}{name}")
            void = self._void(_word(MachineKey, entry))
            await self._commit(
                name,
                "machine revoked" if void else "join token void",
                (_REVOKE, Asked()),
                key=void,
                conditions=(
                    _unchanged(f"{MACHINE_KEYS}{name}", entry),
                    _unchanged(f"{TOKENS}{name}", token),
                ),
            )


def _signing(
    name: str, life: Life, root: str, before: SigningNote | None, now_ms: int
) -> SigningNote:
    """Return what a controller tells; until now it signed by the root that it told of last."""
    since_ms = life.not_before_ms
    if before:
        since_ms = before.since_ms if before.root == root else now_ms
    return SigningNote(
        controller=name, until_ms=life.not_after_ms, since_ms=since_ms, root=root
    )


def _words(kind: type[_T], prefix: str, entries: tuple[KeyValue, ...]) -> dict[str, _T]:
    """Return the documents of one kind by name; who cannot be read is not known."""
    found = read_documents(kind, [each for each in entries if each.key.startswith(prefix)])
    for problem in found.problems.values():
        _log.warning("identity not understood", problem=problem)
    return {key.removeprefix(prefix): word for key, word in found.words.items()}


def _word(kind: type[_T], entry: KeyValue | None) -> _T | None:
    if entry is None:
        return None
    found = read_documents(kind, (entry,), fully=True)
    for problem in found.problems.values():
        raise ConflictError(f"{problem}; ask a controller of another release")
    return found.words[entry.key]


def _taken(name: str) -> ConflictError:
    return ConflictError(f"{name} was changed by somebody else at the same time; repeat")


def _unchanged(key: str, entry: KeyValue | None) -> Condition:
    return Condition(key=key, mod_revision=entry.mod_revision if entry else 0)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
