"""What is sealed is opened by who has the key, and by nobody else."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.drivers.sealing import (
    MACHINE_KEY,
    KeyFile,
    NodeKey,
    is_for,
    make_private,
    public_of,
    seal,
    unseal,
)
from pltfrms.errors import UsageError

OWN, OTHER = make_private(), make_private()
PUBLIC = public_of(OWN)


@given(st.binary(max_size=300), st.text(max_size=20))
def test_whatever_is_sealed_comes_out_again(value: bytes, about: str) -> None:
    sealed = seal(PUBLIC, value, about)
    assert unseal([OTHER, OWN], sealed, about) == value
    assert is_for(sealed, PUBLIC)
    assert not is_for(sealed, public_of(OTHER))


def test_the_same_value_is_sealed_otherwise_each_time() -> None:
    assert seal(PUBLIC, b"hunter2", "x") != seal(PUBLIC, b"hunter2", "x")


def test_another_key_and_other_words_open_nothing() -> None:
    sealed = seal(PUBLIC, b"hunter2", "secret a 1")
    with pytest.raises(UsageError, match="for a key that is not here"):
        unseal([OTHER], sealed, "secret a 1")
    with pytest.raises(UsageError, match="in the place of another"):
        unseal([OWN], sealed, "secret b 1")


@pytest.mark.parametrize("place", range(4))
def test_what_is_damaged_is_refused(place: int) -> None:
    parts = seal(PUBLIC, b"hunter2", "x").split(".")
    for worse in (
        "",
        "A",
        parts[place][:-1],
        ("B" if parts[place][0] == "A" else "A") + parts[place][1:],
    ):
        with pytest.raises(UsageError):
            unseal([OWN], ".".join((*parts[:place], worse, *parts[place + 1 :])), "x")


@pytest.mark.parametrize("key", ["", "A", "a b", "A" * 44, "." * 43])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        seal(key, b"", "x")
    with pytest.raises(UsageError):
        public_of(key)


def test_keys_are_for_us_alone_and_the_newest_is_first(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys")
    assert file.read() == ()
    first = file.first()
    assert file.first() == first
    assert file.add([OWN]) == (OWN, first)
    file.path.chmod(0o644)
    assert file.read() == (OWN, first)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.path.write_text("nonsense")
    with pytest.raises(UsageError, match="no key"):
        file.read()


def test_a_machine_says_its_key_and_opens_what_is_for_it(tmp_path: Path) -> None:
    key = NodeKey(tmp_path)
    assert key.public == ""
    with pytest.raises(UsageError, match="No such file"):
        key.open("1.a.b.c", "x")
    key.make()
    assert key.open(seal(key.public, b"hunter2", "x"), "x") == b"hunter2"
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("torn", [b"", b"\xff\xfe\x00", b"some other", b"\x00" * 88])
def test_a_file_that_has_no_keys_any_more_says_none_and_is_made_anew(
    tmp_path: Path, torn: bytes
) -> None:
    """What is said is sealed to: nonsense would be refused for ever, with the whole target."""
    key = NodeKey(tmp_path)
    (tmp_path / MACHINE_KEY).write_bytes(torn)
    assert key.public == ""
    with pytest.raises(UsageError):
        key.open(seal(PUBLIC, b"hunter2", "x"), "x")
    key.make()
    assert key.open(seal(key.public, b"hunter2", "x"), "x") == b"hunter2"


def test_a_file_of_the_controllers_that_is_no_text_is_refused_as_any_nonsense(
    tmp_path: Path,
) -> None:
    file = KeyFile(tmp_path / "keys")
    file.path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no key"):
        file.read()
