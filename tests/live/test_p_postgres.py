"""A database of `postgres:` in three datacenters, with writers that notice every loss."""

import itertools
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from bench.rig import ROOT, Rig
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import RoleState

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(900), pytest.mark.heavy]
HERE = Path(__file__).parent
PYTHON = ("env", "PYTHONPATH=/usr/lib/pltfrms-postgres", "/usr/bin/python3", "-B")
PATIENCE_SECONDS = 240.0
"""That anything may take: how long it did is printed."""
AWAY_SECONDS = 12.0
"""Longer than Patroni tries to renew what it has in the store."""


class Written:
    """What writers were told."""

    def __init__(self) -> None:
        """Know of nothing yet."""
        self.rows: list[tuple[float, int, int]] = []
        """That were acknowledged: when, which, and on which timeline."""
        self.ended: list[tuple[float, str]] = []
        """Connections: when, and why."""

    def hear(self, lines: Iterator[str]) -> None:
        """Take what they say until they have ended."""
        for line in lines:
            at, *what = json.loads(line)
            if len(what) == 1:
                self.ended.append((at, what[0]))
            else:
                self.rows.append((at, *what))

    @property
    def timelines(self) -> list[int]:
        """Return those of rows, each once, as they followed one another."""
        return list(dict.fromkeys(timeline for *_, timeline in self.rows))

    @property
    def gap(self) -> float:
        """Return the longest time in which no row was acknowledged."""
        times = [at for at, *_ in self.rows]
        return max(after - at for at, after in itertools.pairwise(times))


class Database:
    """The service `pg` of a lab, as berlin writes to it."""

    def __init__(self, rig: Rig, directory: Path, password: str) -> None:
        """Let its clients believe whom its authority vouches for."""
        self.rig = rig
        self.rows: set[int] = set()
        """All that were ever acknowledged."""
        roots = directory / "roots.pem"
        inside = "/var/lib/postgresql/member/tls/ca.pem"
        roots.write_text(rig.run("instance/pg/fra/1", "cat", inside))
        (role,) = (e for e in rig.snapshot().services["pg"].roles if e.name == "writer")
        assert role.prefix6 is not None
        self._words = (
            f"host=writer.pg.example.internal hostaddr={role.prefix6.network_address}"
            f" dbname=app user=app password={password}"
            f" sslmode=verify-full sslrootcert={roots} connect_timeout=2"
            " tcp_user_timeout=2000 target_session_attrs=read-write"
        )

    def argv(self, what: str) -> list[str]:
        """Return the command of a client that does this."""
        command = (*PYTHON, str(HERE / "rows.py"), self._words, what)
        return self.rig.client.exec_argv("berlin", command)

    def ask(self, what: str) -> set[int]:
        """Have a client do what it does once, and return its rows."""
        done = subprocess.run(
            self.argv(what), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return set(json.loads(done.stdout))

    def listed(self) -> set[int]:
        """Return all rows; who asks on a busy machine may have to ask again."""
        found: list[set[int]] = []

        def is_told() -> bool:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                found.append(self.ask("list"))
            return bool(found)

        self.rig.wait("a list of rows", is_told, PATIENCE_SECONDS)
        return found[0]

    @contextmanager
    def written(self, what: str) -> Iterator[Written]:
        """Write for as long as the block takes; then see that nothing of it is lost."""
        written, first = Written(), time.monotonic_ns()
        with subprocess.Popen(
            self.argv(str(first)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            listener = threading.Thread(target=written.hear, args=(process.stdout,))
            listener.start()
            try:
                self.wait_more(written)
                yield written
                self.wait_more(written)
            finally:
                process.stdin.close()
                listener.join()
        self.rows |= {row for _, row, _ in written.rows}
        lost = self.rows - self.listed()
        print(  # noqa: T201 - what it is about
            f"{what}: no row for {written.gap:.2f} s, {len(lost)} of {len(self.rows)} lost, "
            f"timelines {written.timelines}, {len(written.ended)} connections ended: "
            f"{Counter(why for _, why in written.ended).most_common(3)}"
        )
        assert not lost
        assert written.timelines == sorted(written.timelines), "an older one was led to"

    def wait_more(self, written: Written, timelines: int = 0) -> None:
        """Wait for more rows, and for so many timelines."""
        count = len(written.rows) + 20
        self.rig.wait(
            f"rows of {timelines or 1} timelines, after {written.ended[-3:]}",
            lambda: len(written.rows) > count and len(written.timelines) >= timelines,
            PATIENCE_SECONDS,
        )

    def primary(self) -> Allocation:
        """Return whom the address of the writer leads to, once that is known."""
        found: list[Allocation] = []

        def is_known() -> bool:
            found[:] = holders(self.rig, "writer")
            return len(found) == 1

        self.rig.wait("a primary", is_known, PATIENCE_SECONDS)
        return found[0]

    def settle(self) -> None:
        """Wait until one is primary, and both others follow it."""

        def settled() -> bool:
            return [len(holders(self.rig, each)) for each in ("writer", "reader")] == [1, 2]

        self.rig.wait("one that writes, two that follow", settled, PATIENCE_SECONDS)


def holders(rig: Rig, role: str) -> list[Allocation]:
    """Return who has a role of the database."""
    snapshot = rig.snapshot()
    return [
        each
        for each in snapshot.allocations.values()
        if each.service == "pg"
        and (status := snapshot.instance(each.id))
        and (role, RoleState.HELD) in {(one.role, one.state) for one in status.roles}
    ]


@pytest.fixture(scope="module")
def made(lab: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    subprocess.run([ROOT / "scripts" / "make-postgres", "/"], check=True)
    lab.restore()
    directory, password = tmp_path_factory.mktemp("pg"), uuid4().hex
    given = directory / "password"
    given.write_text(password)
    lab.cli("secret", "set", "pg-app", "--file", str(given))
    lab.cli("apply", "--yes", str(HERE / "postgres.yaml"))
    lab.wait("a primary", lambda: bool(holders(lab, "writer")), PATIENCE_SECONDS)
    database = Database(lab, directory, password)
    lab.wait("a table", lambda: makes_table(database), PATIENCE_SECONDS)
    yield database
    lab.cli("service", "delete", "pg", "--yes")


def makes_table(database: Database) -> bool:
    """Return whether there is one; users and databases are made when a replica joins."""
    with suppress(AssertionError):
        return not database.ask("make")
    return False


@pytest.fixture
def db(made: Database, healthy: Rig) -> Database:
    del healthy  # all faults are undone before and after
    made.settle()
    return made


def test_a_primary_that_is_killed_loses_nothing(db: Database) -> None:
    old = db.primary()
    with db.written("primary killed") as written:
        db.rig.client.fault(f"instance/pg/{old.datacenter}/1")
        db.wait_more(written, timelines=2)


def test_a_node_that_is_drained_hands_over(db: Database) -> None:
    old = db.primary()
    with db.written("primary's node drained") as written:
        db.rig.cli("node", "drain", old.node, "--detach")
        db.wait_more(written, timelines=2)

    def is_said() -> bool:  # rows may be written before Patroni's answer has been told
        return "hook hand_over done" in db.rig.cli("events", "--about", old.id)

    db.rig.wait("it was handed over", is_said, PATIENCE_SECONDS)
    db.rig.cli("node", "undrain", old.node)


def test_a_primary_that_returns_with_its_node_is_not_led_to(db: Database) -> None:
    old = db.primary()
    with db.written("primary's node without power, and back") as written:
        db.rig.client.fault(f"node/{old.node}")
        db.wait_more(written, timelines=2)
        db.rig.client.boot(f"node/{old.node}")
        db.settle()
        db.wait_more(written)
    assert db.primary().node != old.node


def test_without_controllers_it_goes_on(db: Database) -> None:
    with db.written("no controllers, no store") as written:
        db.rig.client.fault("controllers")
        time.sleep(AWAY_SECONDS)
        db.wait_more(written)
        db.rig.client.heal("controllers")
        db.rig.wait("controllers", lambda: bool(db.rig.snapshot()), PATIENCE_SECONDS)
        db.wait_more(written)
    assert len(written.timelines) == 1
