"""`pltfrms store run`: find out how this machine's member of the store begins; become etcd.

It is the command of a unit: it ends as etcd itself, in the same process. Before that it waits
as long as it must: a member without data never begins a second store by itself
(`planner.upkeep.starting`), but asks the members that live to be added.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import structlog

from pltfrms.api.store.securing import take_authority
from pltfrms.codec import encode
from pltfrms.controller.records.state import seat_key
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.store_files import RECOVERING_FILE, StoreFiles
from pltfrms.drivers.log import log_to_stderr
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import PASSED_DIRECTORY, make_directory, replace_file
from pltfrms.drivers.store.data import read_data
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.ports import Put
from pltfrms.drivers.told import BEGUN_FILE, is_controller, told_platform
from pltfrms.errors import NotFoundError, PltfrmsError, UnavailableError, UsageError
from pltfrms.model.messages.store import (
    MemberData,
    SeatRequest,
    StoreMember,
    StoreMembers,
)
from pltfrms.model.network.topology import Platform, Role
from pltfrms.planner.upkeep.starting import Start, StartDecision, decide_start
from pltfrms.render.etcd import (
    Beginning,
    StoreFaces,
    etcd_command,
    etcd_endpoints,
    peer_url,
)
from pltfrms.specfile import load_platform

FIRST_FILE = "first-members"
"""In the directory of the configuration: WORD NAME..., the members that make the store."""
USED_FILE = f"{FIRST_FILE}.used"
"""What the first file is called once there is a store."""
DATA_DIRECTORY = "etcd"
_AGAIN_SECONDS = 1.0
_ADDRESS_SECONDS = 0.1
_LOOK_SECONDS = 6.0
_LOOK_WITH_DATA_SECONDS = 1.5
"""A member that has its data does not wait for others to say who they are: they may need it."""
_REQUEST_SECONDS = 15
_LOCAL = (IPv6Address("::1"), IPv4Address("127.0.0.1"))
ALONE_SECONDS = 10.0
"""So long others are asked before the store is made by one machine alone: it may have been made
anew, and has no way to the others before its agent has run for some seconds."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPlace:
    """One machine's member: its files, and the platform as it is known here."""

    platform: Platform
    machine: str
    directories: Directories
    further: Platform | None = None
    """Another version of the platform, whose members may answer, too."""

    @property
    def data(self) -> Path:
        """Where etcd keeps what it knows."""
        return self.directories.state / DATA_DIRECTORY

    @property
    def owner(self) -> MemberData | None:
        """Whose data there is; None: there is none."""
        return read_data(self.data)

    @property
    def may_begin(self) -> bool:
        """Whether the store is to be made here, and was never seen."""
        told = (self.directories.config / FIRST_FILE).exists()
        return told and not (self.directories.state / BEGUN_FILE).exists()

    @property
    def begins_alone(self) -> bool:
        """Whether this machine is told to make the store without the others."""
        return (self.directories.config / FIRST_FILE).read_text().split()[1:] == [self.machine]

    @property
    def files(self) -> StoreFiles:
        """What it shows, and whom it believes."""
        return StoreFiles(self.directories.state)

    async def take_authority(self) -> bool:
        """Have our member show what other controllers' members do; False: nothing is new."""
        state, has_data = self.directories.state, self.owner is not None
        return await take_authority(self.platform, self.machine, state, has_data=has_data)

    @property
    def peer(self) -> str:
        """Where other members reach this one."""
        return self._peer_of(self.machine)

    def _peer_of(self, name: str) -> str:
        machine = self.platform.machine(name)
        return peer_url(self.platform, machine, secure=self.files.there)

    @property
    def others(self) -> tuple[str, ...]:
        """Where other members answer, nearest first."""
        platforms = [each for each in (self.platform, self.further) if each]
        found = [
            url
            for each in platforms
            for url in etcd_endpoints(each, self.machine, secure=self.files.there)[1:]
        ]
        return tuple(dict.fromkeys(found))

    def command(self, beginning: Beginning) -> tuple[str, ...]:
        """Return the program that this process becomes.

        Raises:
            UsageError: what it is to show cannot be made.
        """
        faces, files = None, self.files
        if files.there:
            own = self.platform.loopback6(self.platform.machine(self.machine))
            files.furnish_member(self.machine, (own, *_LOCAL))
            faces = StoreFaces(own=files.member, trusted=files.trusted)
        return etcd_command(self.platform, self.machine, self.data, beginning, faces)

    def with_data(self) -> tuple[str, ...]:
        """Return the command of a member that has its data."""
        note_begun(self.directories)
        return self.command(Beginning(members=((self.machine, self.peer),)))

    def begin(self) -> tuple[str, ...]:
        """Return the command that makes the store.

        Raises:
            UsageError: the file that says with whom is wrong.
        """
        path = self.directories.config / FIRST_FILE
        word, *names = path.read_text().split() or [""]
        controllers = self.platform.machines_of(Role.CONTROLLER)
        known = {machine.name for machine in controllers}
        if self.machine not in names or not known >= set(names):
            raise UsageError(
                f"{path}: it says a word and the controllers that make the store, with "
                f"{self.machine}, each of them in platform.yaml; it says {' '.join(names)!r}"
            )
        members = tuple((name, self._peer_of(name)) for name in names)
        return self.command(Beginning(members=members, word=word, new=True))

    def join(self, listed: Sequence[StoreMember]) -> tuple[str, ...]:
        """Return the command of a member that was added to those that are listed."""
        members = tuple(
            (self.machine if each.peer == self.peer else each.name, each.peer)
            for each in listed
        )
        return self.command(Beginning(members=members))

    def put_aside(self) -> None:
        """Keep the data of a member that was removed, but not as ours; and what is no data."""
        if not (self.data / "member").exists():
            return
        # A disk of its own stays where it is.
        data = self.data / "member" if self.data.is_mount() else self.data
        data.rename(place_aside(data))


def place_aside(data: Path) -> Path:
    """Return where data is kept that is not used any more; nothing is there."""
    names = (f"{data.name}.old{number or ''}" for number in itertools.count())
    places = (data.with_name(name) for name in names)
    return next(place for place in places if not place.exists())


def has_begun(directories: Directories) -> bool:
    """Return whether this machine has made a store, or is to: it is no new one."""
    return (directories.config / FIRST_FILE).exists() or _has_store(directories)


def begins_alone(directories: Directories, machine: str) -> bool:
    """Return whether the store begins here, and no other machine has a say how it speaks."""
    first = directories.config / FIRST_FILE
    others = first.exists() and first.read_text().split()[1:] != [machine]
    return not others and not _has_store(directories)


def _has_store(directories: Directories) -> bool:
    config, state = directories.config, directories.state
    files = (config / USED_FILE, state / BEGUN_FILE, state / DATA_DIRECTORY / "member")
    return any(path.exists() for path in files)


def note_begun(directories: Directories) -> None:
    """Note that there is a store: from now on none is made on this machine without being told.

    Twice, as one of the disks may be lost: the order to make one is used up, too. A disk that
    does not take it is tried again at the next start, or by the controller.
    """
    first = directories.config / FIRST_FILE
    with contextlib.suppress(OSError):
        first.rename(first.with_name(USED_FILE))
    path = directories.state / BEGUN_FILE
    if not path.exists():
        with contextlib.suppress(OSError):
            make_directory(path.parent, PASSED_DIRECTORY)
            replace_file(path, b"")


def main(argv: Sequence[str] | None = None) -> int:
    """Become this machine's etcd; return an exit code only if that cannot be."""
    standard = Directories()
    parser = argparse.ArgumentParser(prog="pltfrms store run", description=__doc__)
    parser.add_argument("--config", type=Path, default=standard.config, help="directory")
    parser.add_argument("--state", type=Path, default=standard.state, help="directory")
    arguments = parser.parse_args(argv or ())
    log_to_stderr()
    try:
        place = read_place(Directories(config=arguments.config, state=arguments.state))
        asyncio.run(_until_addressed(place))
        command = asyncio.run(find_command(place))
        if not place.files.there and IdentityFile(place.directories.state).there:
            _log.warning("the store speaks plainly: whoever reaches it has the platform")
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except PltfrmsError as error:
        _log.error("cannot run", error=str(error))
        return error.exit_code
    except OSError as error:
        _log.error("cannot run", error=f"{error.filename or 'etcd'}: {error.strerror}")
        return UnavailableError.exit_code


def read_place(directories: Directories) -> MemberPlace:
    """Return what is known on this machine of its member, and so of its controller.

    The platform is that of the agent's target, which follows what is applied, if this machine
    is a controller there; else that of the file.

    Raises:
        UsageError: it is a controller in neither.
    """
    name_file = directories.config / "machine"
    try:
        name = name_file.read_text().strip()
    except OSError as error:
        raise UsageError(
            f"{name_file}: {error.strerror}; write this machine's name into it"
        ) from error
    written = load_platform(directories.config / "platform.yaml")
    known = told_platform(directories.state)
    fit = [each for each in (known, written) if each and is_controller(each, name)]
    if not fit:
        raise UsageError(
            f"{name_file}: {name!r} is not a controller of {written.name}, neither by what its "
            f"agent was told nor by {directories.config / 'platform.yaml'}"
        )
    return MemberPlace(platform=fit[0], machine=name, directories=directories, further=fit[-1])


async def _until_addressed(place: MemberPlace) -> None:
    """Wait until this machine has its address, which its agent gives it: etcd would end."""
    address = str(place.platform.loopback6(place.platform.machine(place.machine)))
    told = False
    while True:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tried:
                tried.bind((address, 0))
                return
        except OSError as error:
            if not told:
                _log.info("no address yet", address=address, why=error.strerror)
            told = True
        await asyncio.sleep(_ADDRESS_SECONDS)


async def find_command(place: MemberPlace) -> tuple[str, ...]:
    """Return the command that starts the member, as soon as it can be.

    Raises:
        UsageError: the files that say how are wrong.
    """
    if (place.directories.state / RECOVERING_FILE).exists():
        raise UsageError(
            "a recovery of the store was begun on this machine, and broke off: run "
            "`pltfrms recover` again"
        )
    if not place.others:
        return _alone(place)
    members = EtcdMembers(place.others, place.files.context)
    store = EtcdStore(place.others, tls=place.files.context)
    try:
        return await _command_among(place, members, store)
    finally:
        await members.close()
        await store.close()


async def _command_among(
    place: MemberPlace, members: EtcdMembers, store: EtcdStore
) -> tuple[str, ...]:
    request = _Request(store, place.machine)
    began, told = time.monotonic(), ""
    while True:
        data = place.owner
        heard = await _heard(members, with_data=data is not None)
        if not heard and await place.take_authority():
            members.use(place.others)
            store.use(place.others)
            continue
        decision = decide_start(place.peer, heard, data=data, may_begin=place.may_begin)
        if decision.why != told:
            _log.info("member of the store", start=decision.start, why=decision.why)
            told = decision.why
        early = decision.start is Start.NEW and _may_be_too_early(place, began)
        command = None if early else _command(place, decision)
        if command:
            await request.end()
            return command
        if decision.start is Start.ASK:
            await request.renew(decision.lost)
        await asyncio.sleep(_AGAIN_SECONDS)


def _may_be_too_early(place: MemberPlace, began: float) -> bool:
    return place.begins_alone and time.monotonic() - began < ALONE_SECONDS


def _command(place: MemberPlace, decision: StartDecision) -> tuple[str, ...] | None:
    if decision.obsolete:
        _log.warning("data of a member that was removed is put aside", path=str(place.data))
    if decision.obsolete or decision.start in {Start.NEW, Start.JOIN}:
        place.put_aside()  # also what was begun and never became data
    commands: dict[Start, Callable[[], tuple[str, ...]]] = {
        Start.DATA: place.with_data,
        Start.NEW: place.begin,
        Start.JOIN: lambda: place.join(decision.members),
    }
    make = commands.get(decision.start)
    return make() if make else None


def _alone(place: MemberPlace) -> tuple[str, ...]:
    """Return the command of the only controller: nobody could tell it anything."""
    decision = decide_start(place.peer, (), data=place.owner, may_begin=place.may_begin)
    command = _command(place, decision)
    if command is None:
        raise UsageError(decision.why)
    return command


async def _heard(members: EtcdMembers, *, with_data: bool) -> tuple[StoreMembers, ...]:
    seconds = _LOOK_WITH_DATA_SECONDS if with_data else _LOOK_SECONDS
    with contextlib.suppress(UnavailableError, TimeoutError):
        async with asyncio.timeout(seconds):
            return await members.agreed()
    return ()


class _Request:
    """What controllers read: that this machine asks for a seat, while it does."""

    def __init__(self, store: EtcdStore, machine: str) -> None:
        self._store = store
        self._machine = machine
        self._lease = 0
        self._lost = ""

    async def renew(self, lost: str) -> None:
        try:
            if self._lease and lost == self._lost and await self._store.keep_alive(self._lease):
                return
            self._lease = await self._store.grant(_REQUEST_SECONDS)
            value = encode(SeatRequest(machine=self._machine, lost=lost))
            put = Put(key=seat_key(self._machine), value=value, lease=self._lease)
            await self._store.commit([put])
            self._lost = lost
        except (UnavailableError, NotFoundError) as error:
            self._lease = 0
            _log.warning("not asked yet", why=str(error))

    async def end(self) -> None:
        if self._lease:
            with contextlib.suppress(UnavailableError):
                await self._store.revoke(self._lease)


if __name__ == "__main__":
    sys.exit(main())
