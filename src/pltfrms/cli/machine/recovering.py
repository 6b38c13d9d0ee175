"""What `recover` does: not loaded for its help."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pltfrms.api.store.member import MemberPlace, read_place
from pltfrms.api.store.recovering import Work, begin_anew, keep_own, require_lost
from pltfrms.cli.machine.backing_up import open_backup
from pltfrms.cli.shared.output import good, write_line
from pltfrms.controller.keeping.backups import restore
from pltfrms.controller.keeping.recovering import Referee, ask, go_on, hold
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.ports import Store
from pltfrms.drivers.store.posts import Tls
from pltfrms.errors import ConflictError, UnavailableError, UsageError
from pltfrms.model.messages.backup import IntentBackup
from pltfrms.render.etcd import etcd_endpoints

_LOOK_SECONDS = 6.0
_NAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command was told."""

    backup: Path | None = None
    key: Path | None = None
    set_back: bool = False
    without: tuple[str, ...] = ()
    yes: bool = False


def recover(places: Directories, wishes: Wishes) -> None:
    """Do the step that is next, and write what comes after it.

    Raises:
        ConflictError: a majority answers, etcd runs, or machines have heard of later commits.
        NotFoundError: there is no data here.
        UsageError: this machine is no controller, or a backup is not whole.
        UnavailableError: etcd does not start, or does not answer any more.
    """
    place = read_place(places)
    if bool(wishes.backup) != bool(wishes.key):
        raise UsageError("--backup and --key go together")
    endpoints = etcd_endpoints(place.platform, place.machine, secure=place.files.there)
    if asyncio.run(_answers(endpoints, place.files.context)):
        _finish(endpoints, place.files.context, wishes)
    else:
        require_lost(place)
        _begin(place, wishes)


async def _answers(endpoints: Sequence[str], tls: Tls) -> bool:
    members = EtcdMembers(endpoints, tls)
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            return bool(await members.agreed())
    except (UnavailableError, TimeoutError):
        return False
    finally:
        await members.close()


# ---- the first time: as the only member ----------------------------------------------------


def _begin(place: MemberPlace, wishes: Wishes) -> None:
    if wishes.backup and wishes.key:
        kept = open_backup(wishes.backup, place.directories.config, wishes.key)
        _confirm(
            f"A new store begins on {place.machine}, with the backup of commit "
            f"{kept.revision}. What was decided later is lost, and all members' data.",
            wishes,
        )
        asyncio.run(begin_anew(place, restoring(kept)))
        write_line(good("done: ") + f"{place.machine} is the only member of a new store")
    else:
        _confirm(
            f"{place.machine} goes on as the only member, with its data. What the others have "
            "agreed on without it is lost. Their machines join anew, without their data.",
            wishes,
        )
        copy = asyncio.run(keep_own(place, lambda store: hold(store, _now_ms())))
        write_line(good("done: ") + f"{place.machine} is the only member; {copy} is as before")
    write_line(
        "Now start it, `systemctl start pltfrms-etcd pltfrms-controller`, restart the other "
        "controllers, wait until machines are in contact, and run `pltfrms recover` again: "
        "until then nothing is decided."
    )


def restoring(kept: IntentBackup) -> Work:
    """Return what puts a backup into a new store, and holds it."""

    async def work(store: Store) -> None:
        await restore(store, kept, _now_ms())
        await hold(store, _now_ms())

    return work


# ---- the second time: what machines say ----------------------------------------------------


def _finish(endpoints: Sequence[str], tls: Tls, wishes: Wishes) -> None:
    referee = asyncio.run(_asked(endpoints, tls))
    unheard = sorted(set(referee.silent) - set(wishes.without))
    for line in _told(referee):
        write_line(line)
    if unheard:
        raise ConflictError(
            f"{len(unheard)} machines have not said what they heard: {_some(unheard)}. Wait "
            "for them; of those that are gone for good say it: --without MACHINE"
        )
    if referee.ahead and not wishes.set_back:
        raise ConflictError(
            f"{len(referee.ahead)} machines have heard of a commit that the store does not "
            "have, and would be set back. If another member's disk has newer data, recover "
            "there; else say --set-back, and apply your files right after it"
        )
    if referee.strays and not wishes.set_back:
        raise ConflictError(
            f"{len(referee.strays)} machines follow another recovery of this store: "
            f"{_some(referee.strays)}. Stop that one, or this; only if it is gone for good say "
            "--set-back"
        )
    if referee.ahead or referee.silent or referee.strays:
        _confirm("Controllers decide again, and machines follow.", wishes)
    commit = asyncio.run(_gone_on(endpoints, tls, referee))
    write_line(good("done: ") + f"controllers decide again, from commit {commit} on")


def _told(referee: Referee) -> list[str]:
    heard = f"{len(referee.heard)} machines report, the newest heard of is {referee.newest}"
    lines = [f"the store has commit {referee.commit}; {heard}"]
    if away := sorted(set(referee.silent) - set(referee.mute)):
        lines.append(f"silent, so that nobody knows: {_some(away)}")
    if referee.mute:
        who = "it or its controller is of an older release"
        lines.append(f"does not say what it heard, {who}: {_some(referee.mute)}")
    if referee.ahead:
        lines.append(f"further than the store: {_some(referee.ahead)}")
    if referee.strays:
        lines.append(f"follow another recovery: {_some(referee.strays)}")
    if referee.unknown:
        lines.append(f"run, and are not known to the store: {_some(referee.unknown)}")
    return lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


async def _asked(endpoints: Sequence[str], tls: Tls) -> Referee:
    store = EtcdStore(endpoints, tls=tls)
    try:
        referee = await ask(store)
    finally:
        await store.close()
    if referee is None:
        raise ConflictError(
            "a majority of the store's members answers: there is nothing to recover"
        )
    if not referee.heard:
        raise UnavailableError(
            "no machine has reported since the store was recovered: start controllers and "
            "agents, wait until they are in contact, and run this again"
        )
    return referee


async def _gone_on(endpoints: Sequence[str], tls: Tls, referee: Referee) -> int:
    store = EtcdStore(endpoints, tls=tls)
    try:
        return await go_on(store, referee, _now_ms(), secrets.token_hex(4))
    finally:
        await store.close()


def _confirm(what: str, wishes: Wishes) -> None:
    if not wishes.yes:
        click.confirm(f"{what} Go on?", abort=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
