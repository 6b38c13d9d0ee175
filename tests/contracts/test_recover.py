"""A store of three real members of which two are lost for good, with their disks."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pltfrms.api.store import recovering as api_recovering
from pltfrms.api.store.member import MemberPlace, find_command
from pltfrms.api.store.recovering import begin_anew, keep_own, require_lost
from pltfrms.cli.machine import recovering as cli_recovering
from pltfrms.cli.machine.recovering import Wishes, recover, restoring
from pltfrms.codec import encode
from pltfrms.controller.keeping.backups import take
from pltfrms.controller.keeping.recovering import ask, hold
from pltfrms.controller.records.state import (
    PLATFORM_KEY,
    RECOVERING_KEY,
    commit_mark,
    contact_key,
    heard_key,
    status_key,
)
from pltfrms.drivers.identity.store_files import RECOVERING_FILE, follows
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.ports import Put, Store
from pltfrms.drivers.store.posts import Tls
from pltfrms.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from pltfrms.model.messages.backup import IntentBackup
from pltfrms.model.network.topology import ETCD_PEER_PORT, Role
from pltfrms.model.running.state import MachineStatus
from tests.contracts.conftest import PROGRAMS, cluster, program_of
from tests.contracts.etcd import EtcdCluster
from tests.contracts.test_members import until_seen
from tests.drivers.identity.authority import Office
from tests.strategies import make_platform

PLATFORM = make_platform({"ams": 1, "fra": 1, "lon": 1})
ME = PLATFORM.machines_of(Role.CONTROLLER)[0].name
NODE = "ams-n1"
Endpoints = tuple[str, ...]


of_each_etcd = pytest.mark.parametrize("mortal_etcd", PROGRAMS, indirect=True)
"""What etcd itself does here. All else happens beside it, and is tried with one."""


@pytest.fixture
def mortal_etcd(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[EtcdCluster]:
    """Three members; `etcd` is the same program."""
    program = program_of(request, getattr(request, "param", PROGRAMS[0]))
    if "/" in program:
        monkeypatch.setenv("PATH", f"{Path(program).parent}:{os.environ['PATH']}")
    yield from cluster(tmp_path_factory, program=program)


@pytest.fixture
def place(tmp_path: Path, mortal_etcd: EtcdCluster) -> Iterator[MemberPlace]:
    """One of three members, which has its data, and is stopped; the two others are lost."""
    commits(mortal_etcd.endpoints, "first")
    asyncio.run(until_all_have_all(mortal_etcd.endpoints))
    mortal_etcd.end(0)
    for number in (1, 2):
        mortal_etcd.kill(number)
        mortal_etcd.lose(number)
    directories = Directories(config=tmp_path / "etc", state=tmp_path / "var")
    for path in (directories.config, directories.state):
        path.mkdir()
    found = MemberPlace(platform=PLATFORM, machine=ME, directories=directories)
    (mortal_etcd.directory / "m0").rename(found.data)
    (mortal_etcd.directory / "m0").symlink_to(found.data)
    yield found
    mortal_etcd.stop()
    shutil.rmtree(directories.state)


def commits(endpoints: Endpoints, *words: str) -> int:
    """Commit each word, with the platform; return the revision."""

    async def run(store: Store) -> int:
        revision = 0
        for word in words:
            puts = (commit_mark(word, 0), Put(key="/pltfrms-word", value=word.encode()))
            platform = Put(key=PLATFORM_KEY, value=encode(PLATFORM))
            while True:
                with contextlib.suppress(UnavailableError):
                    revision = await store.commit([*puts, platform]) or 0
                    break
        return revision

    return with_store(endpoints, run)


async def until_all_have_all(endpoints: Endpoints) -> None:
    members = EtcdMembers(endpoints)
    await until_seen(members, lambda seen: len({each.index for each in seen.members}) == 1)
    await members.close()


def with_store(
    endpoints: Endpoints, work: Callable[[Store], Awaitable[int]], tls: Tls | None = None
) -> int:
    async def run() -> int:
        store = EtcdStore(endpoints, tls=tls)
        try:
            async with asyncio.timeout(30):
                return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def held(store: Store) -> None:
    await hold(store, 0)


def keys(endpoints: Endpoints, tls: Tls | None = None) -> list[str]:
    found: list[str] = []

    async def run(store: Store) -> int:
        found.extend(each.key for each in (await store.list("/")).entries)
        return 0

    with_store(endpoints, run, tls)
    return found


def report(endpoints: Endpoints, generation: int, recovery: str) -> None:
    """Report as a machine that has followed a commit, and heard of no later one."""
    status = MachineStatus(machine=NODE, generation=generation, recovery=recovery)

    async def run(store: Store) -> int:
        puts = [
            Put(key=contact_key(NODE), value=b"present"),
            Put(key=status_key(NODE), value=encode(status)),
            Put(key=heard_key(NODE), value=str(generation).encode()),
        ]
        return await store.commit(puts) or 0

    with_store(endpoints, run)


@of_each_etcd
def test_one_of_three_goes_on_with_all_that_it_had_and_decides_nothing_yet(
    place: MemberPlace, mortal_etcd: EtcdCluster
) -> None:
    before = place.owner
    copy = asyncio.run(keep_own(place, held))
    assert (copy / "member").is_dir()
    assert {path.stat().st_mode & 0o077 for path in (copy, *copy.rglob("*"))} == {0}
    assert place.owner == before, "it is the same store: data of the lost is of removed members"
    assert not (place.directories.state / RECOVERING_FILE).exists()
    mortal_etcd.start_again(0)
    endpoints = mortal_etcd.endpoints[:1]
    assert {"/pltfrms-word", PLATFORM_KEY, RECOVERING_KEY} <= set(keys(endpoints))

    async def alone() -> None:
        members = EtcdMembers(endpoints)
        (agreed,) = await members.agreed()
        assert [each.number for each in agreed.members] == [before.number if before else ""]
        await members.close()

    asyncio.run(alone())


@of_each_etcd
def test_it_may_break_off_anywhere_and_be_done_again(
    place: MemberPlace, mortal_etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_store: Store) -> None:
        raise UnavailableError("broken off")

    with pytest.raises(UnavailableError, match="broken off"):
        asyncio.run(keep_own(place, never))
    with pytest.raises(UsageError, match="pltfrms recover"):
        asyncio.run(find_command(place))
    asyncio.run(keep_own(place, held))
    asyncio.run(keep_own(place, held))
    mortal_etcd.start_again(0)
    assert "/pltfrms-word" in keys(mortal_etcd.endpoints[:1])
    monkeypatch.setattr(api_recovering, "START_SECONDS", 0.01)
    with pytest.raises(UnavailableError, match="not begun"):
        asyncio.run(keep_own(place, held))


def test_who_recovers_and_is_killed_leaves_no_etcd_behind(place: MemberPlace) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from tests.contracts.test_recover import MemberPlace, PLATFORM, ME, Directories, keep_own
async def stay(_store):
    print("here", flush=True)
    await asyncio.sleep(60)
directories = Directories(config=Path(sys.argv[1]), state=Path(sys.argv[2]))
place = MemberPlace(platform=PLATFORM, machine=ME, directories=directories)
asyncio.run(keep_own(place, stay))
"""
    words = [str(place.directories.config), str(place.directories.state)]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, env=os.environ
    )
    assert process.stdout
    assert process.stdout.readline() == b"here\n"
    with pytest.raises(ConflictError, match="etcd runs on this machine"):
        require_lost(place)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(ConflictError):
            require_lost(place)
            break
        time.sleep(0.05)
    asyncio.run(keep_own(place, held))


def test_it_is_refused_while_another_member_runs(
    place: MemberPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(addresses: list[str], port: int, _seconds: float) -> tuple[str, ...]:
        other = PLATFORM.machines_of(Role.CONTROLLER)[1]
        assert port == ETCD_PEER_PORT
        return tuple(each for each in addresses if each == str(PLATFORM.loopback6(other)))

    monkeypatch.setattr(api_recovering, "who_listens", answers)
    with pytest.raises(ConflictError, match="start all members that have data"):
        require_lost(place)


@of_each_etcd
def test_without_data_there_is_nothing_to_recover_from(place: MemberPlace) -> None:
    place.put_aside()
    with pytest.raises(NotFoundError, match="--backup"):
        asyncio.run(keep_own(place, held))
    asyncio.run(begin_anew(place, held))
    assert place.owner
    assert place.owner.store != ""


@of_each_etcd
def test_with_a_backup_a_new_store_begins_that_is_held_too(
    place: MemberPlace, mortal_etcd: EtcdCluster
) -> None:
    endpoints = mortal_etcd.endpoints[:1]
    asyncio.run(keep_own(place, held))
    mortal_etcd.start_again(0)
    found: list[IntentBackup] = []

    async def back_up(store: Store) -> int:
        found.append(await take(store, ME, 0))
        return found[0].revision

    revision, before = with_store(endpoints, back_up), place.owner
    mortal_etcd.end(0)

    async def broken(_store: Store) -> None:
        raise UnavailableError("broken off")

    with pytest.raises(UnavailableError, match="broken off"):
        asyncio.run(begin_anew(place, broken))
    with pytest.raises(ConflictError, match="say --backup again"):
        asyncio.run(keep_own(place, held))
    asyncio.run(begin_anew(place, restoring(found[0])))
    assert before
    assert place.owner
    assert place.owner.store != before.store
    mortal_etcd.start_again(0)
    assert {PLATFORM_KEY, RECOVERING_KEY} <= set(keys(endpoints))

    async def look(store: Store) -> int:
        referee = await ask(store)
        return referee.commit if referee else 0

    assert with_store(endpoints, look) > revision


@of_each_etcd
def test_a_plain_store_goes_on_by_tls_when_its_machines_speak_so(
    place: MemberPlace, mortal_etcd: EtcdCluster
) -> None:
    plain, state = mortal_etcd.endpoints[:1], place.directories.state
    Office(PLATFORM.name, 1_800_000_000_000).identity(state, ME, controller=True)
    asyncio.run(keep_own(place, held))
    secured(place, mortal_etcd)
    assert place.peer.startswith("https:")
    assert asyncio.run(peers(mortal_etcd)) == [place.peer], "others find it there"
    assert "/pltfrms-word" in keys(mortal_etcd.endpoints[:1], mortal_etcd.tls)
    with pytest.raises(UnavailableError):
        keys(plain)


def test_two_recoveries_from_the_same_data_are_two_stores(
    place: MemberPlace, mortal_etcd: EtcdCluster, tmp_path: Path
) -> None:
    Office(PLATFORM.name, 1_800_000_000_000).identity(
        place.directories.state, ME, controller=True
    )
    place.files.begin(PLATFORM.name)
    before = place.files.text()
    other = replace(place, directories=replace(place.directories, state=tmp_path / "other"))
    shutil.copytree(place.directories.state, other.directories.state)
    for each in (place, other):
        asyncio.run(keep_own(each, held))
        assert follows(each.files.text(), before), "who has the older one takes either"
    assert place.owner == other.owner, "by etcd's number they are one"
    assert not follows(place.files.text(), other.files.text())
    assert not follows(other.files.text(), place.files.text())
    secured(place, mortal_etcd)
    assert "/pltfrms-word" in keys(mortal_etcd.endpoints[:1], place.files.context)
    with pytest.raises(UnavailableError):
        keys(mortal_etcd.endpoints[:1], other.files.context)
    shutil.rmtree(other.directories.state)


def secured(place: MemberPlace, etcd: EtcdCluster) -> None:
    """Start a member that was recovered as what it has become."""
    place.files.furnish_member(ME, (IPv4Address("127.0.0.1"),))
    etcd.secure(place.files)
    etcd.start_again(0)


async def peers(etcd: EtcdCluster) -> list[str]:
    members = EtcdMembers(etcd.endpoints[:1], etcd.tls)
    try:
        (agreed,) = await members.agreed()
        return [each.peer for each in agreed.members]
    finally:
        await members.close()


@pytest.mark.parametrize(
    ("ahead", "set_back", "recovery"),
    [(0, False, ""), (500, False, ""), (500, True, ""), (0, False, "x"), (0, True, "x")],
)
def test_no_machine_is_set_back_without_a_word(
    place: MemberPlace,
    mortal_etcd: EtcdCluster,
    monkeypatch: pytest.MonkeyPatch,
    *,
    ahead: int,
    set_back: bool,
    recovery: str,
) -> None:
    endpoints = mortal_etcd.endpoints[:1]
    (place.directories.config / "machine").write_text(f"{ME}\n")
    monkeypatch.setattr(cli_recovering, "etcd_endpoints", lambda *_, **__: endpoints)
    monkeypatch.setattr("pltfrms.api.store.member.load_platform", lambda _path: PLATFORM)
    wishes = Wishes(yes=True, set_back=set_back)
    recover(place.directories, wishes)
    mortal_etcd.start_again(0)
    with pytest.raises(UnavailableError, match="no machine has reported"):
        recover(place.directories, wishes)

    commit = 0

    async def look(store: Store) -> int:
        referee = await ask(store)
        return referee.commit if referee else 0

    commit = with_store(endpoints, look)
    assert commit
    report(endpoints, commit + ahead, recovery)
    with pytest.raises(ConflictError, match="--without MACHINE"):
        recover(place.directories, wishes)
    others = tuple(each.name for each in PLATFORM.managed if each.name != NODE)
    wishes = replace(wishes, without=others)
    if (ahead or recovery) and not set_back:
        why = "would be set back" if ahead else f"another recovery of this store: {NODE}"
        with pytest.raises(ConflictError, match=why):
            recover(place.directories, wishes)
        assert RECOVERING_KEY in keys(endpoints)
        return
    recover(place.directories, wishes)
    assert RECOVERING_KEY not in keys(endpoints)
    assert commits(endpoints, "next") > commit + ahead
    with pytest.raises(ConflictError, match="nothing to recover"):
        recover(place.directories, wishes)
