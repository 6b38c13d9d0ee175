"""Who hears which aggregate, and two route servers behind one port, of which one may die."""

import os
import re
import subprocess
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from bench.rig import Rig, running_lab
from pltfrms.lab.client.probing import Measurement, probe_service
from tests.shapes.answers import check_answers
from tests.shapes.asking import ask_from_every_instance, everybody_answers
from tests.shapes.shapes import DIRECTORY, read

pytestmark = [pytest.mark.live, pytest.mark.calm, pytest.mark.root, pytest.mark.timeout(300)]

NAME = "regional-aggregates"
SHAPE = read(NAME)
assert SHAPE.lab is not None
LAB = SHAPE.lab
MEMBER = next(each for each in LAB.eyeballs if "ixp1" in each.upstreams)
AT_EXCHANGE = {"ixp1@ams1", "ixp1:2@ams1"}
EUROPE = {"transit1@fra1", "transit1@ams1", *AT_EXCHANGE}
EVERYWHERE = {*EUROPE, "transit1@nyc1", "transit2@nyc1"}
HEARD = {
    "203.0.112.0/22": EVERYWHERE - {"transit2@nyc1"},
    "203.0.112.0/24": EVERYWHERE,
    "2001:db8:100::/48": EVERYWHERE,
    "203.0.113.0/24": EUROPE,
    "2001:db8:200::/48": EUROPE,
    "203.0.114.0/24": {"transit1@fra1"},
    "2001:db8:300::/48": {"transit1@fra1"},
    "203.0.121.0/24": {"transit1@fra1"},
    "2001:db8:a::/48": {"transit1@fra1"},
    "203.0.122.0/24": {"transit1@ams1", *AT_EXCHANGE},
    "2001:db8:b::/48": {"transit1@ams1", *AT_EXCHANGE},
    "203.0.123.0/24": {"transit1@nyc1", "transit2@nyc1"},
    "2001:db8:c::/48": {"transit1@nyc1", "transit2@nyc1"},
}
"""Which of our sessions bring an aggregate to a neighbour."""


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_lab(DIRECTORY / NAME, f"exchange-{os.getpid()}") as (client, ready):
        yield Rig(client, ready, 0.0)


def test_every_client_reaches_every_service_and_hears_only_what_is_ours(rig: Rig) -> None:
    assert {each.service for each in rig.ready.answers} == {"web", "europe", "home"}
    check_answers(SHAPE, rig.client, rig.ready)


def test_each_neighbour_hears_an_aggregate_only_where_it_is_announced(rig: Rig) -> None:
    rig.wait("heard where it is to be", lambda: heard(rig) == HEARD, 20)


def heard(rig: Rig) -> dict[str, set[str]]:
    """Return which of our sessions bring each prefix to a neighbour, as it sees it itself."""
    found: dict[str, set[str]] = {}
    for peer in SHAPE.platform.peers:
        words = ("birdc", "-s", "/run/pltfrms/bird.ctl", "show", "route", "table", "all")
        prefix = ""
        for line in rig.run(peer.name, *words).splitlines():
            begin = re.match(r"[0-9a-f.:]+/[0-9]+", line)
            prefix = begin.group() if begin else prefix
            ours = re.search(r"\[(?:customer|member)\.(\w+1)(:2)?\.ipv[46] ", line)
            if ours:
                session = f"{peer.name}{ours.group(2) or ''}@{ours.group(1)}"
                found.setdefault(prefix, set()).add(session)
    return found


@pytest.mark.parametrize("number", [0, 1])
def test_either_route_server_may_die_and_nobody_goes_another_way(rig: Rig, number: int) -> None:
    web = rig.snapshot().services["web"]
    theirs = [str(prefix) for prefix in MEMBER.prefixes]
    ours = [prefix for prefix, sessions in HEARD.items() if sessions >= AT_EXCHANGE]
    with (
        ThreadPoolExecutor() as pool,
        everybody_answers(rig.client, LAB),
        ports_used(rig, MEMBER.name, ours) as to_us,
        ports_used(rig, "ams1", theirs) as to_them,
    ):
        # The question is not how long an answer takes, so this may run beside other labs.
        wanted = Measurement(client=MEMBER.name, rate=50, duration_ms=5000, timeout_ms=10_000)
        asking = pool.submit(probe_service, rig.client, web, wanted)
        with dead(rig, number):
            rig.wait("its sessions are closed", lambda: len(down(rig)) == 2, 20)
            assert ask_from_every_instance(rig.client, LAB, rig.snapshot()) == 36
            report = asking.result()
        rig.restore()
    assert report.lost == 0, report.errors
    assert report.answered_by["before"].keys() == {"ams"}
    assert (to_us, to_them) == ({"lan-ixp1"}, {"ixp"})


@contextmanager
def ports_used(rig: Rig, machine: str, prefixes: Collection[str]) -> Iterator[set[str]]:
    """Collect through which ports routes of a machine lead to these, until the end."""
    words = ("sh", "-c", "ip monitor route & ip -4 route; ip -6 route; cat; kill $!")
    argv, pipe = rig.client.exec_argv(machine, words), subprocess.PIPE
    found: set[str] = set()
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as monitor:
        yield found
        said, _ = monitor.communicate()  # it ends when its input does
    for line in said.splitlines():
        if line.partition(" ")[0] in prefixes:
            found.update(re.findall(r" dev (\S+)", line))


def down(rig: Rig) -> set[str]:
    sessions = rig.snapshot().statuses["ams1"].sessions
    return {each.name for each in sessions if not each.up}


@contextmanager
def dead(rig: Rig, number: int) -> Iterator[None]:
    """Let a route server close its sessions with everybody, and open none."""
    suffix = f":{number + 1}" if number else ""
    members = [
        f"member.{name}{suffix}.ipv{v}" for name in ("ams1", MEMBER.name) for v in (4, 6)
    ]

    def tell(verb: str) -> None:
        for name in members:
            rig.run("ixp1", "birdc", "-s", "/run/pltfrms/bird.ctl", verb, f"'{name}'")

    tell("disable")
    try:
        yield
    finally:
        tell("enable")
