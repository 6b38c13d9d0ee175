"""The controller daemon: the loop and the HTTP API, in one process and one event loop."""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from types import FrameType
from typing import Protocol

import structlog
import uvicorn

from pltfrms.api.app import doors_of, make_app
from pltfrms.api.bounds.connections import IDLE_SECONDS, allow_descriptors, bounded_by
from pltfrms.api.bounds.serving import ControllerIdentity, Server, make_identity
from pltfrms.api.routes.parts import add_part_routes
from pltfrms.api.store.backing_up import backups_of
from pltfrms.api.store.member import note_begun, read_place
from pltfrms.api.store.securing import take_secret_keys
from pltfrms.api.store.superseded import follow_recoveries
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.asked.parts import PartsDesk
from pltfrms.controller.contact.heartbeats import TIMEOUT_SECONDS
from pltfrms.controller.planning.apart import Apart
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.records.values import Values
from pltfrms.drivers.aside import Forked
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.glass.client import GlassClient
from pltfrms.drivers.glass.origins import OriginClient
from pltfrms.drivers.glass.running import CommandClient
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.listening import bind6
from pltfrms.drivers.log import log_to_stderr
from pltfrms.drivers.operators.signatures import SshSignatures
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.sealing import CONTROLLERS_KEYS, KeyFile
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.errors import PltfrmsError
from pltfrms.model.network.topology import CONTROLLER_PORT, Platform
from pltfrms.render.etcd import etcd_endpoints

SOCKET_NAME = "controller.sock"
BIND_RETRY_SECONDS = 0.5
LEASE_SECONDS = 1.8 * TIMEOUT_SECONDS
"""For one call of a heartbeat's client: half of it is for one member of the store, so that the
next one is asked before the heartbeat's own time is over."""
PART_SILENCE_SECONDS = 5.0
"""A watch of a service that hears nothing for so long ends: programs believe what they heard
last, and the member that would tell may be dead."""
_SHUTDOWN_SECONDS = 1
"""Long polls are cut off after this time; their agents ask another controller."""
_BACKLOG = 4096
"""Machines that connect at the same time, as after we were away. Whom the kernel does not let
in tries again a second later, and has given up before that."""

_YOUNG, _MIDDLE, _NEVER = 1000, 5, 1_000_000_000
"""When the garbage collector looks at what is new, at what has lasted a while, and at all. To
look often is to look at little: each time holds up every heartbeat."""
_COLLECT_SECONDS = 600.0
_FOLLOW_SECONDS = 1.0
_KEYS_SECONDS = 5.0
"""Between two tries to get what others have not answered."""

_log = structlog.get_logger(__name__)


class _Asks(Protocol):
    """What asks members of the store."""

    def use(self, endpoints: Sequence[str]) -> None:
        """Ask at these base URLs from now on."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the controller of this machine until SIGTERM or SIGINT; return the exit code."""
    standard = Directories()
    parser = argparse.ArgumentParser(prog="pltfrms controller run", description=__doc__)
    parser.add_argument("--config", type=Path, default=standard.config, help="directory")
    parser.add_argument("--state", type=Path, default=standard.state, help="directory")
    parser.add_argument("--runtime", type=Path, default=standard.runtime, help="directory")
    arguments = parser.parse_args(argv)
    log_to_stderr()
    try:
        directories = Directories(
            config=arguments.config, runtime=arguments.runtime, state=arguments.state
        )
        place = read_place(directories)
        asyncio.run(_serve(place.platform, place.machine, directories))
    except PltfrmsError as error:
        _log.error("cannot run", error=str(error))
        return error.exit_code
    return 0


def _identity(
    controller: Controller, directories: Directories, jitter: Random
) -> ControllerIdentity | None:
    """Return what this machine answers with by TLS; None if it has not joined."""
    identity = IdentityFile(directories.state)
    return make_identity(controller, identity, jitter) if identity.there else None


async def _serve(platform: Platform, name: str, directories: Directories) -> None:
    """Run the loop and the API until a signal, or until the loop breaks."""
    asked = at, _ = where_asked(platform, name, directories)
    tls = StoreFiles(directories.state).context
    store, members = EtcdStore(at, tls=tls), EtcdMembers(at, tls)
    gateway = EtcdStore(at, watch_silence_seconds=PART_SILENCE_SECONDS, tls=tls)
    lease_store = EtcdStore(at, request_timeout_seconds=LEASE_SECONDS, tls=tls)
    jitter = Random()  # noqa: S311 - spreads retries, no secret
    apart = Apart(
        lease_store=lease_store,
        aside=Forked(),
        members=members,
        backups=backups_of(store, name, directories),
        values=Values(KeyFile(directories.state / CONTROLLERS_KEYS)),
    )
    controller = Controller(store, SystemClock(), name, platform, jitter, apart=apart)
    known = _identity(controller, directories, jitter)
    operations = Operations(controller, OriginClient(tls=known.end if known else None))
    desk = PartsDesk(controller, gateway, secure=known is not None)
    server = _make_server(operations, known, desk)
    address = str(platform.loopback6(platform.machine(name)))
    with _stopped_by_signals(server), _unix_socket(directories.runtime / SOCKET_NAME) as local:
        loop = asyncio.create_task(_run(controller, known, desk))
        serving = asyncio.create_task(_answer(server, address, local))
        clients = (store, lease_store, members, gateway)
        beside = [
            asyncio.create_task(each)
            for each in (
                collect_garbage(),
                follow_members(controller, clients, asked, platform, directories),
                follow_recoveries(controller, platform, directories),
                follow_secret_keys(controller, platform, directories.state),
            )
        ]
        await asyncio.wait({loop, serving}, return_when=asyncio.FIRST_COMPLETED)
        broken = loop.done()
        server.should_exit = True
        await serving
        loop.cancel()
        for task in beside:
            task.cancel()
        (outcome,) = await asyncio.gather(loop, return_exceptions=True)
        for each in clients:
            await each.close()
    if broken and isinstance(outcome, Exception):
        raise outcome
    _log.info("controller ends", name=name)


async def _run(
    controller: Controller, known: ControllerIdentity | None, desk: PartsDesk
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(controller.run())
        group.create_task(desk.ends.run())
        if known:
            group.create_task(known.run())


def where_asked(
    platform: Platform, name: str, directories: Directories
) -> tuple[tuple[str, ...], int]:
    """Return where the store is asked, and what changes with what this machine shows there."""
    files = StoreFiles(directories.state)
    return etcd_endpoints(platform, name, secure=files.there), files.changed_at()


async def follow_members(
    controller: Controller,
    clients: Sequence[_Asks],
    asked: tuple[tuple[str, ...], int],
    platform: Platform,
    directories: Directories,
) -> None:
    """Ask, for ever, the members that the platform has now, which come and go with it.

    Also by what this machine shows them now: its member may get that after the clients were
    made, as `asked` says. Until the store says what the platform is, it is that of the file.
    """
    while True:
        await asyncio.sleep(_FOLLOW_SECONDS)
        stored = controller.view.platform
        if stored:
            note_begun(directories)
        with contextlib.suppress(KeyError):  # not in the platform yet, or not any more
            found = where_asked(stored or platform, controller.name, directories)
            for client in clients if found != asked else ():
                client.use(found[0])
            asked = found


async def follow_secret_keys(controller: Controller, platform: Platform, state: Path) -> None:
    """Take, for ever, the keys of secrets from other controllers while one is missing here."""
    while True:
        await asyncio.sleep(_FOLLOW_SECONDS)
        view, values = controller.view, controller.values
        public = view.secrets_key
        if public and (not values.has(public) or values.lost(view.secrets)):
            known = view.platform or platform
            await take_secret_keys(known, controller.name, state, values.file)
            await asyncio.sleep(_KEYS_SECONDS)


async def collect_garbage() -> None:
    """Let the collector look at all that we know rarely: that takes long, and finds little.

    What the store holds has no cycles, and goes when nobody refers to it any more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)
    while True:
        await asyncio.sleep(_COLLECT_SECONDS)
        gc.collect()


async def _answer(server: Server, address: str, local: socket.socket) -> None:
    """Answer on the machine's address and on the local socket until told to stop."""
    while not server.should_exit:
        try:
            public = bind6(address, CONTROLLER_PORT)
        except OSError as error:
            _log.warning("cannot bind yet", address=address, error=str(error))
            await asyncio.sleep(BIND_RETRY_SECONDS)
        else:
            _log.info("controller answers", address=address, port=CONTROLLER_PORT)
            await server.serve(sockets=[public, local])


def _make_server(
    operations: Operations, known: ControllerIdentity | None, desk: PartsDesk
) -> Server:
    doors = doors_of(operations, allow_descriptors())
    glass = GlassClient(tls=known.end if known else None)
    runner = CommandClient(known.end if known else None)
    app = make_app(operations, glass, SshSignatures(), doors, known, runner)
    add_part_routes(app, desk)
    config = uvicorn.Config(
        app,
        http=bounded_by(doors.connections),
        ws="none",
        proxy_headers=False,  # nobody in between: who asks would say himself who he is
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        backlog=_BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    return Server(config, doors, known.tls if known else None)


@contextlib.contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    """Make the socket through which root reaches the API on this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(before)
    try:
        yield bound
    finally:
        bound.close()
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _stopped_by_signals(server: Server) -> Iterator[None]:
    """End `server` at SIGTERM and SIGINT, also before it serves.

    While it serves, uvicorn handles them itself; at its end it raises the signal again for
    whoever had it before, which is us.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
