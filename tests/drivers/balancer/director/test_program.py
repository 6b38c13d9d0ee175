"""The compiled program in this kernel: it does with every packet what the model does."""

import errno
import socket
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pytest

from pltfrms.drivers.balancer.director.model import Fate, Maps
from pltfrms.model.running.balancer import CHANCES, ROWS
from tests.drivers.balancer.director.cases import CASES
from tests.drivers.balancer.director.kernel import (
    Counts,
    Kernel,
    counted,
    instruction_counts,
    mark_of,
    name_own_namespace,
)
from tests.drivers.balancer.director.mutation import frames
from tests.drivers.balancer.director.packets import (
    CLIENT4,
    CLIENT6,
    OUR_MAC,
    TEAM4,
    TEAM6,
    instance,
    packed,
)
from tests.drivers.balancer.director.world import (
    CLOSED_PORT,
    CONNECTION,
    KNOWN_PORT,
    ME,
    OPEN_PORT,
    Case,
    machine,
    model,
)
from tests.namespaces import in_machine

pytestmark = pytest.mark.root
NAMESPACE = 7
SEED, FRAMES = 20_261_123, 100_000
AROUND = {2: "fd00:1:2::5", 3: instance(0x100), 4: instance(0x20), 5: "fd00:1:1:ffff::1"}
"""Addresses of instances by id, on both sides of that of `ME`."""
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21
"""tcp(7); Python does not name them."""
LIMIT = 4000
"""Instructions of a program: ours are small, and the verifier quick."""


def difference(kernel: Kernel, program: str, packet: bytes, mark: int, said: Fate) -> str:
    """Return what the kernel does otherwise than the model says."""
    outcome = kernel.run(program, packet, mark)
    found = (outcome.verdict, outcome.data, mark_of(outcome))
    wanted = (said.action, said.frame, said.mark)
    if found == wanted:
        return ""
    return f"{program} mark {mark} {packet.hex()}: {found} is not {wanted} {said.counters}"


def connection(family: int, service: str, client: str) -> socket.socket:
    """Return one end of `CONNECTION`; the kernel asks for no other end (TCP_REPAIR)."""
    end = socket.socket(family)
    end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    for queue, number in ((1, CONNECTION.receives), (2, CONNECTION.sends)):
        end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, queue)
        end.setsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, number)
    end.bind((service, OPEN_PORT))
    end.connect((client, KNOWN_PORT))
    end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, -1)
    return end


def sockets(stack: ExitStack) -> None:
    """Make the listeners and connections that `cases.socket_of` tells of, and a MAC address."""
    subprocess.run(["ip", "link", "set", "lo", "address", OUR_MAC.hex(":")], check=True)
    for client, service in ((CLIENT4, TEAM4), (CLIENT6, TEAM6)):
        family = socket.AF_INET6 if ":" in service else socket.AF_INET
        for address in (client, service):
            nodad = ("nodad",) if ":" in service else ()
            subprocess.run(["ip", "address", "add", address, "dev", "lo", *nodad], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        listener = stack.enter_context(
            socket.create_server((service, OPEN_PORT), family=family)
        )
        stack.enter_context(connection(family, service, client))
        with socket.socket(family) as closed:  # ours goes first: it is left in TIME_WAIT
            closed.bind((client, CLOSED_PORT))
            connect(closed, service)
            listener.accept()[0].close()
            closed.recv(1)


def connect(end: socket.socket, service: str) -> None:
    """Connect to a service; the kernel's routes to new addresses may be a moment late."""
    for _ in range(100):
        try:
            end.connect((service, OPEN_PORT))
        except OSError as error:
            if error.errno != errno.ENETUNREACH:
                raise
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{service} cannot be reached")


def checked(case: Case, kernel: Kernel, maps: Maps) -> str:
    """Return what is wrong with one case; counters included."""
    said = model(case.program, case.packet, maps, case.mark, case.me)
    kernel.put_home(case.me, -1 if case.me.is_here else NAMESPACE)
    before = kernel.counts()
    wrong = difference(kernel, case.program, case.packet, case.mark, said)
    added = kernel.counts()
    added.subtract(before)
    kernel.maps["homes"].delete(case.me.address)
    if not wrong and +added != counted(said):
        wrong = f"counted {+added}, not {counted(said)}"
    return f"{case.program}: {case.rule}: {wrong}" if wrong else ""


def test_the_verifier_accepts_every_program() -> None:
    kernel = Kernel()
    kernel.close()
    sizes = instruction_counts(kernel)
    print(sizes)  # noqa: T201 - for `pytest -s`
    assert len(sizes) == 6
    assert max(sizes.values()) < LIMIT


def test_the_program_keeps_the_rules() -> None:
    async def scenario() -> None:
        name_own_namespace(NAMESPACE)
        wrong = []
        with ExitStack() as stack:
            sockets(stack)
            usual = Kernel()
            usual.fill(machine())
            for case in CASES:
                maps, kernel = case.change(machine()), usual
                if maps != machine():
                    kernel = Kernel()
                    kernel.fill(maps)
                wrong.append(checked(case, kernel, maps))
        assert [each for each in wrong if each] == []

    in_machine(scenario)


def test_the_program_and_the_model_agree_on_any_packet() -> None:
    async def scenario() -> None:
        name_own_namespace(NAMESPACE)
        kernel, maps = Kernel(), machine()
        # Rows that differ, with gaps and repetitions, so that every place of `ME` is met.
        rows = [
            tuple(row * (place + 3) % 11 % 8 for place in range(CHANCES)) for row in range(ROWS)
        ]
        maps = replace(
            maps,
            tables={**maps.tables, 1: rows},
            instances={**maps.instances, **{one: packed(each) for one, each in AROUND.items()}},
        )
        kernel.fill(maps)
        kernel.put_home(ME, NAMESPACE)
        total: Counts = Counter()
        actions: Counter[tuple[str, int]] = Counter()
        with ExitStack() as stack:
            sockets(stack)
            for program, packet, mark in frames(SEED, FRAMES):
                said = model(program, packet, maps, mark)
                wrong = difference(kernel, program, packet, mark, said)
                assert not wrong, wrong
                total += counted(said)
                actions[program, said.action] += 1
        assert kernel.counts() == total
        # It met everything it was to meet.
        met = {index for name, index, _ in total if name == "counters"}
        assert met == set(range(11)) - {0}, met
        for program in ("instance_out", "inside"):
            assert min(actions[program, action] for action in (0, 2, 7)) > FRAMES // 100

    in_machine(scenario)
