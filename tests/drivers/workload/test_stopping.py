"""How real instances end that make it hard: they are deaf, fork, or still have connections."""

import asyncio
import socket
import time
from pathlib import Path

import pytest

from pltfrms.model.running.machine import Instance
from tests.contracts.test_workload import SERVICE, Machine, real_machine, spec
from tests.drivers.workload.test_process import log_of, processes, shell, until
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

GRACE_MS = 700
DAEMONS = (
    # Deaf children in sessions of their own, as daemons are, whose parents are gone.
    "for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP; echo child; sleep 600' &); done; "
)
HOLDS = (
    "python3",
    "-c",
    """
import signal, socket, sys
server = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("listens", flush=True)
held = []
def end(*_):
    print("asked", flush=True)
    for one in held:
        if one.recv(4) == b"last":
            one.sendall(b"done")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    held.append(server.accept()[0])
    print("held", flush=True)
""",
)


async def said(root: Path, instance: Instance, words: str, count: int = 1) -> None:
    await until(lambda: log_of(root, instance).read_text().count(words) >= count)


def last_words(client: socket.socket) -> bytes:
    client.sendall(b"last")
    return client.recv(4)


async def stop(machine: Machine, instance: Instance) -> tuple[float, str]:
    """Stop an instance; return how long that took, and how it ended."""
    waiting = asyncio.create_task(machine.workload.wait(instance))
    began = time.monotonic()
    await machine.workload.stop(instance, GRACE_MS)
    return time.monotonic() - began, await waiting


@pytest.mark.parametrize(
    ("main", "how", "whole_grace"),
    [
        ("trap 'exit 0' TERM; while sleep 0.05; do :; done", "exited with status 0", False),
        ("trap '' TERM; while sleep 0.05; do :; done", "killed together with", True),
    ],
)
def test_what_an_instance_has_forked_ends_with_it(
    tmp_path: Path, main: str, how: str, *, whole_grace: bool
) -> None:
    """Of its own accord or not; children that hear nothing take none of the grace."""

    async def scenario() -> None:
        machine = real_machine(tmp_path)
        before = processes()
        instance = await machine.workload.start(spec(shell(DAEMONS + main)))
        await said(tmp_path, instance, "child", 3)
        took, ended = await stop(machine, instance)
        assert how in ended
        assert (took >= GRACE_MS / 1000) is whole_grace
        assert await machine.workload.running() == {}
        assert await machine.devices("i1") == set()
        await until(lambda: processes() <= before)

    in_machine(scenario)


@pytest.mark.parametrize("ends", [True, False])
def test_who_still_has_connections_has_the_grace_to_end_them(
    tmp_path: Path, *, ends: bool
) -> None:
    """It is asked first, and killed only if it has not ended them by then."""

    async def scenario() -> None:
        machine = real_machine(tmp_path)
        instance = await machine.workload.start(spec(HOLDS))
        await said(tmp_path, instance, "listens")
        with machine.connections(instance) as clients:
            await said(tmp_path, instance, "held", 2)
            assert await machine.prober.connections(instance, SERVICE) == 2
            stopping = asyncio.create_task(stop(machine, instance))
            await said(tmp_path, instance, "asked")
            assert instance.allocation in await machine.workload.running()
            if ends:
                answers = await asyncio.to_thread(lambda: [last_words(c) for c in clients])
                assert answers == [b"done", b"done"]
            took, how = await stopping
        assert how == (
            "exited with status 0" if ends else "killed together with its init process"
        )
        assert ends or took >= GRACE_MS / 1000

    in_machine(scenario)
