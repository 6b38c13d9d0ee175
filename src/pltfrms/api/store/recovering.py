"""Recover the store when a majority of its members is lost for good.

On one machine, whose etcd is stopped: an etcd that nobody else reaches removes all other
members from the data, or begins anew with a backup; what no machine may be told yet is held
(`controller.recovering`); then etcd ends. Each step may break off and be done again. Until the
store is held, `store run` starts nothing here.
"""

import asyncio
import contextlib
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from pltfrms.api.store.member import MemberPlace, note_begun, place_aside
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.store_files import RECOVERING_FILE
from pltfrms.drivers.listening import who_listens
from pltfrms.drivers.private import copy_directory, replace_file
from pltfrms.drivers.store.data import in_use
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.ports import Store
from pltfrms.errors import ConflictError, NotFoundError, UnavailableError
from pltfrms.model.network.topology import ETCD_PEER_PORT, Role
from pltfrms.render.etcd import Beginning, recovering_command, scheme_of

START_SECONDS = 120.0
"""For etcd to begin with its data: it reads all of it."""
_END_SECONDS = 10.0
_ANSWER_SECONDS = 1.5
_AGAIN_SECONDS = 0.1
_LOG_BYTES = 2000

Work = Callable[[Store], Awaitable[None]]


def require_lost(place: MemberPlace) -> None:
    """Refuse to recover while etcd runs, here or at another controller.

    Raises:
        ConflictError: it does.
    """
    if in_use(place.data):
        raise ConflictError(
            "etcd runs on this machine: stop it first, and its controller: "
            "`systemctl stop pltfrms-etcd pltfrms-controller`"
        )
    others = {
        str(place.platform.loopback6(each)): each.name
        for each in place.platform.machines_of(Role.CONTROLLER)
        if each.name != place.machine
    }
    found = who_listens([*others], ETCD_PEER_PORT, _ANSWER_SECONDS)
    if found:
        names = ", ".join(others[each] for each in found)
        raise ConflictError(
            f"etcd runs on {names}: start all members that have data, for a majority of them "
            "needs no recovery. Only if the others are lost for good: stop etcd there, and "
            "recover where the newest data is"
        )


async def keep_own(place: MemberPlace, work: Work) -> Path:
    """Go on with the data of this machine alone; return where a copy of it is.

    `work` is done before anybody else can reach the store.

    Raises:
        ConflictError: a recovery with a backup was begun here.
        NotFoundError: there is no data.
        UnavailableError: etcd does not start with it.
    """
    if place.owner is None:
        raise NotFoundError(
            f"{place.data} has no data: recover on a controller that has some, or say --backup"
        )
    mark = place.directories.state / RECOVERING_FILE
    if mark.exists() and not mark.read_text():
        raise ConflictError("a recovery with a backup broke off here: say --backup again")
    copy = Path(mark.read_text()) if mark.exists() else await asyncio.to_thread(_copy, place)
    replace_file(mark, str(copy).encode())
    _secure(place)
    command = place.command(Beginning(members=((place.machine, place.peer),)))
    await _with_etcd(place, command, work, keep_data=True)
    note_begun(place.directories)
    mark.unlink()
    return copy


async def begin_anew(place: MemberPlace, work: Work) -> None:
    """Make a store of this machine alone; what data there is, is put aside.

    `work` is done before anybody else can reach the store.

    Raises:
        UnavailableError: etcd does not start.
    """
    mark = place.directories.state / RECOVERING_FILE
    replace_file(mark, b"")
    place.put_aside()
    _secure(place)
    word = f"{place.platform.name}-{secrets.token_hex(8)}"
    members = ((place.machine, place.peer),)
    command = place.command(Beginning(members=members, word=word, new=True))
    await _with_etcd(place, command, work, keep_data=False)
    note_begun(place.directories)
    mark.unlink()


def _secure(place: MemberPlace) -> None:
    """Have members show something new, by TLS if machines do: others join anew anyway.

    Who recovers from the same data elsewhere is thus another store.
    """
    if IdentityFile(place.directories.state).there:
        place.files.begin_anew(place.platform.name)


def _copy(place: MemberPlace) -> Path:
    """Copy the data of before; half a copy never has the name of one."""
    fresh = place.data.with_name(f".{place.data.name}.copy")
    shutil.rmtree(fresh, ignore_errors=True)
    copy_directory(place.data, fresh)
    return fresh.rename(place_aside(place.data))


async def _with_etcd(
    place: MemberPlace, command: Sequence[str], work: Work, *, keep_data: bool
) -> None:
    scheme = scheme_of(secure=place.files.there)
    client, peer = (f"{scheme}://127.0.0.1:{port}" for port in _free_ports(2))
    words = recovering_command(command, client, peer, keep_data=keep_data)
    async with _running(words) as failed:
        await _until_alone(place, client, failed)
        store = EtcdStore(
            [client], request_timeout_seconds=START_SECONDS, tls=place.files.context
        )
        try:
            await work(store)
        finally:
            await store.close()


@contextlib.asynccontextmanager
async def _running(command: Sequence[str]) -> AsyncIterator[Callable[[], str]]:
    """Run etcd, which ends with us whatever happens; give what says why it has ended."""
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL"), *command, stdout=log, stderr=log
        )

        def failed() -> str:
            if process.returncode is None:
                return ""
            log.seek(max(log.tell() - _LOG_BYTES, 0))
            return log.read().decode(errors="replace") or "it says nothing"

        try:
            yield failed
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), _END_SECONDS)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _until_alone(place: MemberPlace, endpoint: str, failed: Callable[[], str]) -> None:
    """Wait until the member answers, as the only one, and is known by how it is reached now."""
    members = EtcdMembers([endpoint], place.files.context)
    why = "it does not answer"
    try:
        async with asyncio.timeout(START_SECONDS):
            while not failed():
                try:
                    (agreed,) = await members.agreed()
                    if len(agreed.members) == 1:
                        (alone,) = agreed.members
                        if alone.peer != place.peer:
                            await members.move(alone.number, place.peer)
                        return
                except UnavailableError as error:
                    why = str(error)
                await asyncio.sleep(_AGAIN_SECONDS)
        raise UnavailableError(f"etcd has ended: {failed()}")
    except TimeoutError as error:
        raise UnavailableError(
            f"etcd has not begun within {START_SECONDS:g} s: {why}"
        ) from error
    finally:
        await members.close()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
