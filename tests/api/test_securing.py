"""How a machine comes by what members of the store show, by TLS over loopback."""

import asyncio
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pltfrms.api import main
from pltfrms.api.main import follow_secret_keys
from pltfrms.api.store import securing
from pltfrms.api.store.securing import take_authority, take_secret_keys
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.records.values import Values
from pltfrms.drivers.identity.store_files import RECOVERING_FILE, StoreFiles
from pltfrms.drivers.sealing import KeyFile, make_private, public_of, seal, unseal
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.secrets import SealedValue, SecretNote, StoredSecret
from tests.api.door import PLATFORM, Door, serve

NAME = "fra-c2"
"""Who asks, as far as it asks all others."""


def here(door: Door, monkeypatch: pytest.MonkeyPatch) -> StoreFiles:
    """Return what the controller behind the door has; it is the only other one."""
    monkeypatch.setattr(securing, "controller_url", lambda *_, **__: door.url)
    return door.known.store


async def taken(state: Path, *, has_data: bool = False) -> bool:
    return await take_authority(PLATFORM, NAME, state, has_data=has_data)


def controller(door: Door, place: Path) -> StoreFiles:
    """Return the files of a machine that has the identity of a controller."""
    shutil.copytree(door.file.directory, place / "identity")
    found = StoreFiles(place)
    found.path.unlink(missing_ok=True)
    return found


def test_a_controller_takes_what_another_one_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        theirs = here(door, monkeypatch)
        ours = controller(door, tmp_path / "new")
        assert not await taken(tmp_path / "new"), "there, the store speaks plainly"
        assert not ours.there
        theirs.begin(PLATFORM.name)
        assert await taken(tmp_path / "new", has_data=True)
        assert ours.text() == theirs.text()
        assert ours.path.stat().st_mode & 0o777 == 0o600
        assert not await taken(tmp_path / "new"), "it has that already"

    serve(tmp_path, story)


def test_a_node_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(door: Door) -> None:
        here(door, monkeypatch).begin(PLATFORM.name)
        node = (await door.join("fra-n1")).directory.parent
        assert not await taken(node)
        assert not await taken(tmp_path / "nobody")
        assert not StoreFiles(node).there

    serve(tmp_path, story)


def test_who_has_data_follows_a_recovery_of_it_and_no_other_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        theirs = here(door, monkeypatch)
        theirs.begin(PLATFORM.name)
        ours = controller(door, tmp_path / "own")
        ours.keep(theirs.text())
        theirs.begin_anew(PLATFORM.name)
        assert await taken(tmp_path / "own", has_data=True)
        assert ours.text() == theirs.text()
        ours.begin_anew(PLATFORM.name)
        own = ours.text()
        assert not await taken(tmp_path / "own", has_data=True), "theirs is what was before"
        theirs.begin_anew(PLATFORM.name)
        assert not await taken(tmp_path / "own", has_data=True), "that is another recovery"
        assert ours.text() == own
        assert await taken(tmp_path / "own"), "who has no data has nothing to lose"
        assert ours.text() == theirs.text()

    serve(tmp_path, story)


def test_what_a_recovery_has_made_is_given_to_nobody_before_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        theirs = here(door, monkeypatch)
        theirs.begin(PLATFORM.name)
        ours = controller(door, tmp_path / "own")
        ours.keep(theirs.text())
        mark = door.file.directory.parent / RECOVERING_FILE
        mark.touch()
        theirs.begin_anew(PLATFORM.name)
        for has_data in (True, False):
            assert not await taken(tmp_path / "own", has_data=has_data)
        mark.unlink()
        assert await taken(tmp_path / "own", has_data=True)
        assert ours.text() == theirs.text()

    serve(tmp_path, story)


def test_what_others_may_read_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        theirs = here(door, monkeypatch)
        theirs.begin(PLATFORM.name)
        ours = controller(door, tmp_path / "own")
        theirs.path.chmod(0o644)
        assert not await taken(tmp_path / "own")
        assert not ours.there

    serve(tmp_path, story)


# ---- the keys of secrets -------------------------------------------------------------------


async def keys_taken(state: Path) -> tuple[str, ...]:
    file = KeyFile(state / "keys")
    await take_secret_keys(PLATFORM, NAME, state, file)
    return file.read()


def test_a_controller_takes_the_keys_of_secrets_and_opens_what_others_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        here(door, monkeypatch)
        controller(door, place := tmp_path / "new")
        assert await keys_taken(place) == ()
        first = door.keys.first()
        sealed = seal(public_of(first), b"value", "db")
        assert unseal(await keys_taken(place), sealed, "db") == b"value"
        assert (place / "keys").stat().st_mode & 0o777 == 0o600
        newer = door.keys.add((make_private(),))
        assert await keys_taken(place) == newer == (newer[0], first)

    serve(tmp_path, story)


def test_only_controllers_are_told_keys_of_secrets_and_only_they_are_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        here(door, monkeypatch)
        door.keys.first()
        node = await door.join("fra-n1")
        assert await keys_taken(node.directory.parent) == ()
        assert await keys_taken(tmp_path / "nobody") == ()
        controller(door, place := tmp_path / "new")
        door.show(node)
        assert await keys_taken(place) == ()
        door.show(door.file)
        assert await keys_taken(place) == door.keys.read()

    serve(tmp_path, story)


def test_what_is_no_key_leaves_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        here(door, monkeypatch)
        controller(door, place := tmp_path / "new")
        own = KeyFile(place / "keys").first()
        monkeypatch.setattr(door.keys, "read", lambda: ("no key",))
        assert await keys_taken(place) == (own,)

    serve(tmp_path, story)


def test_keys_are_asked_for_as_long_as_one_value_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who made the newest key may lack an older one that values are still sealed to."""
    file, older = KeyFile(tmp_path / "keys"), make_private()
    newest = public_of(file.first())
    text = seal(public_of(older), b"value", "secret db 1")
    secret = StoredSecret(
        note=SecretNote(name="db", version=1), values=(SealedValue(version=1, text=text),)
    )
    view = SimpleNamespace(secrets_key=newest, secrets=(secret,), platform=PLATFORM)
    values, asked = Values(file), asyncio.Event()

    async def take(_platform: Platform, _machine: str, _state: Path, keys: KeyFile) -> None:
        keys.add([older])
        asked.set()

    async def story() -> None:
        controller = cast("Controller", SimpleNamespace(view=view, values=values, name=NAME))
        following = asyncio.create_task(follow_secret_keys(controller, PLATFORM, tmp_path))
        try:
            async with asyncio.timeout(30):
                await asked.wait()
        finally:
            following.cancel()
        assert values.opened(secret, 1) == b"value"

    monkeypatch.setattr(main, "take_secret_keys", take)
    monkeypatch.setattr(main, "_FOLLOW_SECONDS", 0.0)
    asyncio.run(story())
