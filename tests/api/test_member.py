"""How this machine's etcd is started, by what is on its disk."""

from pathlib import Path

import pytest

from pltfrms.api.member import BEGUN_FILE, FIRST_FILE, MemberPlace, note_begun, read_place
from pltfrms.drivers.ports import Directories
from pltfrms.errors import UsageError
from pltfrms.model.messages.store import StoreMember
from pltfrms.model.network.topology import Role
from pltfrms.render.etcd import peer_url
from tests.strategies import make_platform

PLATFORM = make_platform({"ams": 1, "fra": 1, "lon": 1})
NAMES = [machine.name for machine in PLATFORM.machines_of(Role.CONTROLLER)]
ME = NAMES[0]


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
    (place.data / "member").mkdir(parents=True)
    assert place.has_data
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
        (place.data / "member").mkdir(parents=True)
        (place.data / "member" / word).touch()
        place.put_aside()
        assert not place.has_data
        (kept,) = (place.directories.state / name / "member").iterdir()
        assert kept.name == word


def test_a_machine_that_is_no_controller_needs_no_etcd(
    place: MemberPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pltfrms.api.member.load_platform", lambda _path: PLATFORM)
    (place.directories.config / "machine").write_text("fra-n1\n")
    with pytest.raises(UsageError, match="not a controller"):
        read_place(place.directories)
    (place.directories.config / "machine").write_text(f"{ME}\n")
    assert read_place(place.directories).machine == ME
