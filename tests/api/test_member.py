"""How this machine's etcd is started, by what is on its disk."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.api.store import member
from pltfrms.api.store.member import (
    FIRST_FILE,
    MemberPlace,
    find_command,
    note_begun,
    read_place,
)
from pltfrms.codec import encode
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.data import read_data
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.told import BEGUN_FILE
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.messages.store import MemberData, StoreMember, StoreMembers
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Target
from pltfrms.render.etcd import peer_url
from tests.strategies import make_platform

PLATFORM = make_platform({"ams": 1, "fra": 1, "lon": 1})
NAMES = [machine.name for machine in PLATFORM.machines_of(Role.CONTROLLER)]
ME = NAMES[0]
LOG_HEAD = bytes.fromhex(
    "0400000000000084080410000000000020000000000000000801"
    "10fcb588d4091a1608fbfa8ba392e69eebdd0110b9aec4abb989e5f7a701"
)
"""What etcd 3.4.23 wrote first: of member 15985099378392235387, store 12101053776118486841."""
DATA = MemberData(number="15985099378392235387", store="12101053776118486841")


def write_data(directory: Path, head: bytes = LOG_HEAD) -> None:
    (directory / "member" / "wal").mkdir(parents=True)
    (directory / "member" / "wal" / "0000000000000000-0000000000000000.wal").write_bytes(
        head + bytes(1000)
    )


@pytest.fixture
def place(tmp_path: Path) -> MemberPlace:
    config, state = tmp_path / "config", tmp_path / "state"
    config.mkdir()
    state.mkdir()
    directories = Directories(config=config, state=state)
    return MemberPlace(platform=PLATFORM, machine=ME, directories=directories)


def test_the_store_is_made_once_by_those_that_are_told_to(place: MemberPlace) -> None:
    assert not place.may_begin
    (place.directories.config / FIRST_FILE).write_text(f"word {' '.join(NAMES)}\n")
    assert place.may_begin
    command = place.begin()
    assert "--initial-cluster-state=new" in command
    assert "--initial-cluster-token=word" in command
    assert place.may_begin, "it has not succeeded yet"
    note_begun(place.directories)
    assert (place.directories.state / BEGUN_FILE).exists()
    assert not place.may_begin
    (place.directories.state / BEGUN_FILE).unlink()  # with the disk of the state
    assert not place.may_begin


def test_a_member_with_data_notes_that_there_is_a_store(place: MemberPlace) -> None:
    (place.directories.config / FIRST_FILE).write_text(f"word {' '.join(NAMES)}\n")
    write_data(place.data)
    assert place.owner == DATA
    assert "--initial-cluster-state=existing" in place.with_data()
    assert not place.may_begin


@pytest.mark.parametrize("text", ["", "word", "word other", f"word {ME} unknown"])
def test_a_list_of_first_members_that_cannot_be_is_refused(
    place: MemberPlace, text: str
) -> None:
    (place.directories.config / FIRST_FILE).write_text(text)
    with pytest.raises(UsageError, match=FIRST_FILE):
        place.begin()


def test_who_joins_names_all_that_are_there_and_itself(place: MemberPlace) -> None:
    urls = [peer_url(PLATFORM, PLATFORM.machine(name)) for name in NAMES[:2]]
    listed = (
        StoreMember(name="7", number="7", peer=urls[0], learner=True, started=False),
        StoreMember(name=NAMES[1], number="8", peer=urls[1]),
    )
    command = place.join(listed)
    assert f"--initial-cluster={ME}={urls[0]},{NAMES[1]}={urls[1]}" in command
    assert "--initial-cluster-state=existing" in command


def test_data_of_a_member_that_was_removed_is_kept_aside(place: MemberPlace) -> None:
    for word, name in (("first", "etcd.old"), ("second", "etcd.old1")):
        write_data(place.data)
        (place.data / "member" / word).touch()
        place.put_aside()
        assert place.owner is None
        assert (place.directories.state / name / "member" / word).exists()


def test_a_machine_that_is_no_controller_needs_no_etcd(
    place: MemberPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pltfrms.api.store.member.load_platform", lambda _path: PLATFORM)
    (place.directories.config / "machine").write_text("fra-n1\n")
    with pytest.raises(UsageError, match="not a controller"):
        read_place(place.directories)
    (place.directories.config / "machine").write_text(f"{ME}\n")
    assert read_place(place.directories).machine == ME


def test_a_machine_is_a_controller_as_soon_as_it_was_told_whatever_its_file_says(
    place: MemberPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = PLATFORM.machine(ME)
    others = tuple(each for each in PLATFORM.machines if each.name != ME)
    written = replace(PLATFORM, machines=others)
    assert mine not in written.machines
    monkeypatch.setattr("pltfrms.api.store.member.load_platform", lambda _path: written)
    (place.directories.config / "machine").write_text(f"{ME}\n")
    with pytest.raises(UsageError, match="not a controller"):
        read_place(place.directories)
    told = Target(machine=ME, generation=3, platform=PLATFORM)
    (place.directories.state / "target.json").write_bytes(encode(told))
    assert read_place(place.directories).platform == PLATFORM


def test_data_on_a_disk_of_its_own_is_kept_aside_on_that_disk(
    place: MemberPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(place.data)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == place.data)
    place.put_aside()
    assert place.owner is None
    assert [path.name for path in place.data.iterdir()] == ["member.old"]


@pytest.mark.parametrize("size", range(len(LOG_HEAD)))
def test_of_data_that_is_torn_nothing_is_known(tmp_path: Path, size: int) -> None:
    write_data(tmp_path, LOG_HEAD[:size])
    assert read_data(tmp_path) == MemberData()


def test_a_start_that_broke_off_before_there_was_data_is_done_again(place: MemberPlace) -> None:
    alone = MemberPlace(
        platform=make_platform({"ams": 1}),
        machine=ME,
        directories=place.directories,
    )
    (place.directories.config / FIRST_FILE).write_text(f"word {ME}\n")
    (place.data / "member" / "snap").mkdir(parents=True)
    assert "--initial-cluster-state=new" in asyncio.run(find_command(alone))
    assert not place.data.exists()


def test_one_that_makes_the_store_alone_asks_the_others_for_a_while_first(
    place: MemberPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    async def agreed(_self: EtcdMembers) -> tuple[StoreMembers, ...]:
        seen.append(time.monotonic())
        if len(seen) < 3:
            raise UnavailableError("no way yet")
        peers = [peer_url(PLATFORM, PLATFORM.machine(name)) for name in NAMES]
        added = StoreMember(name="7", number="7", peer=peers[0], learner=True, started=False)
        return (StoreMembers(members=(added, StoreMember(name=NAMES[1], peer=peers[1]))),)

    monkeypatch.setattr(EtcdMembers, "agreed", agreed)
    monkeypatch.setattr(member, "_AGAIN_SECONDS", 0.01)
    (place.directories.config / FIRST_FILE).write_text(f"word {ME}\n")
    command = asyncio.run(find_command(place))
    assert "--initial-cluster-state=existing" in command
    seen.clear()
    monkeypatch.setattr(member, "ALONE_SECONDS", 0.02)
    monkeypatch.setattr(EtcdMembers, "agreed", _nobody)
    assert "--initial-cluster-state=new" in asyncio.run(find_command(place))


async def _nobody(_self: EtcdMembers) -> tuple[StoreMembers, ...]:
    raise UnavailableError("nobody")
