"""The address of a role follows it through a whole lab, with a client that is connected."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.rig import Rig
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import RoleState
from tests.live.flows import BERLIN

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(400)]
HERE = Path(__file__).parent
REFUSED = "ConnectionRefusedError"
STAY_SECONDS = 1.0
"""Edges know of a claim within a tenth of that."""
_PEERS = "http://127.0.0.1:8008/peers"
_ASK = """\
import socket, sys, time, urllib.request

def ask(what):
    if what.startswith("http:"):
        return urllib.request.urlopen(what, timeout=10).read().decode()
    with socket.create_connection((what, 5432), 10) as one:
        one.sendall(b"who\\n")
        return one.recv(100).decode()

end = time.monotonic() + 30
while True:
    try:
        print(ask(sys.argv[1]))
        break
    except OSError:  # routes and names follow who is ready
        if time.monotonic() > end:
            raise
        time.sleep(0.2)
"""
_TELL = (
    "import sys, urllib.request\n"
    "urllib.request.urlopen('http://127.0.0.1:8008/epoch/' + sys.argv[1], timeout=30)\n"
)


class Client:
    """An eyeball that asks for the writer, over IPv6, and what it has seen so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.seen: list[str] = []

    def seen_at(self, what: str) -> float:
        """Return when it sees that next, by the clock of this machine; wait for it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, said = json.loads(line)
            self.seen.append(said)
            if said == what:
                return float(at)
        raise AssertionError(f"it has ended; it saw {self.seen}")

    def end(self) -> None:
        """Have it ask no more, and take what it has seen since."""
        out, _ = self._process.communicate()
        self.seen += [json.loads(line)[1] for line in out.splitlines()]


@pytest.fixture
def db(healthy: Rig) -> Iterator[Rig]:
    healthy.cli("apply", "--yes", str(HERE / "db.yaml"), "--wait")
    yield healthy
    healthy.cli("service", "delete", "db", "--yes")


@contextmanager
def asking(rig: Rig) -> Iterator[Client]:
    role = rig.snapshot().services["db"].roles[0]
    assert role.prefix6 is not None
    address = str(role.prefix6.network_address)
    script = (sys.executable, str(HERE / "role_client.py"), BERLIN[1], address, "5432")
    process = subprocess.Popen(
        rig.client.exec_argv("berlin", script),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    client = Client(process)
    try:
        yield client
    finally:
        client.end()


def instance(rig: Rig, datacenter: str) -> str:
    return next(
        each.id
        for each in rig.snapshot().allocations.values()
        if each.service == "db" and each.datacenter == datacenter
    )


def tell(rig: Rig, name: str, epoch: int) -> float:
    """Let an instance be primary in an epoch (0: not any more); return when we began to."""
    began = time.monotonic()
    rig.run(place(name), "python3", "-I", "-c", _TELL, str(epoch))
    return began


def place(name: str) -> str:
    """Return how the lab calls an instance."""
    service, datacenter, replica = name.split(".")
    return f"instance/{service}/{datacenter}/{replica.partition('-')[0]}"


def asked(rig: Rig, name: str, what: str) -> str:
    """Return what an instance hears of another one, or reads of its peers."""
    return rig.run(place(name), "python3", "-I", "-c", _ASK, what).strip()


def has_given_way(rig: Rig, name: str) -> bool:
    status = rig.snapshot().instance(name)
    roles = status.roles if status else ()
    yielded = (RoleState.YIELDED, Reason.ROLE_SURPASSED)
    return [(each.state, each.reason) for each in roles] == [yielded]


def test_the_role_moves_is_refused_and_never_goes_back_to_an_old_one(db: Rig) -> None:
    fra, ams = instance(db, "fra"), instance(db, "ams")
    with asking(db) as client:
        tell(db, fra, 1)
        client.seen_at(fra)
        told = tell(db, fra, 0)
        refused = client.seen_at(REFUSED) - told
        told = tell(db, ams, 2)
        answered = client.seen_at(ams) - told
        tell(db, fra, 1)  # it comes back, and does not know of the other
        db.wait(f"{fra} gives way", lambda: has_given_way(db, fra), 60)
        time.sleep(STAY_SECONDS)
    print(f"refused within {refused:.2f} s of telling the old one")  # noqa: T201
    print(f"answered within {answered:.2f} s of telling the new; {client.seen}")  # noqa: T201
    assert client.seen[-1] == ams
    assert fra not in client.seen[client.seen.index(ams) :]
    assert "TimeoutError" not in client.seen
    assert f"role writer of {fra}" in db.cli("status")
    assert "role writer is at" in db.cli("explain", "service/db")


def test_members_find_each_other_for_life_and_hand_over_before_they_are_replaced(
    db: Rig, tmp_path: Path
) -> None:
    fra, ams = instance(db, "fra"), instance(db, "ams")
    peers = json.loads(asked(db, ams, _PEERS))
    assert peers["name"].startswith("ams-1.db.")
    members = {each["name"].partition(".")[0]: each for each in peers["members"]}
    assert members["fra-1"]["node"] == db.snapshot().allocations[fra].node
    own = ("fra-1.db", members["fra-1"]["address6"], members["fra-1"]["address4"])
    assert [asked(db, ams, each) for each in own] == [fra] * 3
    tell(db, fra, 1)
    db.wait(
        "fra has the role", lambda: "role writer is at" in db.cli("explain", "service/db"), 60
    )
    newer = tmp_path / "db.yaml"
    newer.write_text((HERE / "db.yaml").read_text().replace("epoch = 0", "epoch = 0 + 0", 1))
    db.cli("apply", "--yes", str(newer), "--wait")
    service = db.snapshot().services["db"]
    assert service.rollout is not None
    assert service.rollout.stages[-1].datacenters == ("fra",), "it has the role"
    assert instance(db, "fra") != fra
    assert "hook hand_over done" in db.cli("events", "--about", fra)
    assert asked(db, instance(db, "ams"), own[1]) == instance(db, "fra")
