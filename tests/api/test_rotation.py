"""One root takes the place of another: rehearsed with a controller and machines by real TLS."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest

from pltfrms.agent.control.certificate import Certificate, Makers
from pltfrms.cli.machine import joining, rotating
from pltfrms.cli.main import main
from pltfrms.codec import decode, encode
from pltfrms.controller.records.state import ROOTS_KEY, SIGNERS
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.identity.authority import Pair, roots_of
from pltfrms.drivers.identity.files import IdentityFile, RootsFile
from pltfrms.drivers.identity.keys import sign_text
from pltfrms.drivers.identity.tls import client_context
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import UnavailableError
from pltfrms.model.identity.lives import DAY_MS
from pltfrms.model.identity.words import RootDrop, RootNote, RootNotes, SigningNote
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.running.state import MachineStatus
from tests.api.door import PLATFORM, Door, believing, serve
from tests.drivers.identity.authority import PASSPHRASE, Office


@dataclass
class Hands:
    """The commands of an operator on the controller, at a time that tests set."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    @property
    def root(self) -> Path:
        return self.directory / "root-2.pem"

    def run(self, *words: str, at_ms: int, code: int = 0) -> str:
        for module in (joining, rotating):
            self.monkeypatch.setattr(module, "unix_ms", lambda: at_ms)
        passphrase = self.directory / "passphrase"
        passphrase.write_text(PASSPHRASE)
        more = [f"--state={self.directory / 'c'}", f"--config={self.directory}"]
        self.capsys.readouterr()
        got = main(["controller", *words, "--passphrase-file", str(passphrase), *more])
        said = self.capsys.readouterr()
        assert got == code, said.err
        return said.out if code == 0 else said.err

    def vouch(self, old: Pair) -> None:
        """Have the old root vouch for the new one."""
        key = self.directory / "root-1.pem"
        key.touch(0o600)
        key.write_text(f"{old.key.strip()}\n{old.certificate}")
        words = ["vouch", str(self.root), "--root-key", str(key)]
        file = str(self.directory / "passphrase")
        assert main(["controller", *words, "--passphrase-file", file]) == 0

    def pins(self, at_ms: int) -> dict[str, bool]:
        said = self.run("root", "--json", at_ms=at_ms)
        return {each["pin"]: each["signs"] for each in json.loads(said)}


@pytest.fixture
def hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Hands:
    return Hands(tmp_path, monkeypatch, capsys)


async def signed(key: str, text: str) -> str:
    return sign_text(key, text)


async def renew(door: Door, file: IdentityFile) -> None:
    """Have a machine renew its certificate now, as it does within its life by itself."""
    agent = door.agent(file)
    makers = Makers(known=agent, stranger=agent, signs=lambda _issuer: False)
    await Certificate(file, SystemClock(), makers, signed, lambda: None).look()
    await agent.close()


class MonthsLater(SystemClock):
    def unix_ms(self) -> int:
        return super().unix_ms() + 40 * DAY_MS


async def come_back(door: Door, file: IdentityFile) -> None:
    """Have a machine ask for a certificate when its own has expired."""
    stranger = door.agent(file, stranger=True)
    makers = Makers(known=stranger, stranger=stranger)
    await Certificate(file, MonthsLater(), makers, signed, lambda: None).look()
    await stranger.close()


async def beats(door: Door, file: IdentityFile) -> None:
    agent = door.agent(file)
    try:
        await agent.heartbeat(Heartbeat(status=MachineStatus(machine=file.read().machine)))
    finally:
        await agent.close()


class Rehearsal:
    """Three times a controller begins, each time a month later by an operator's clock."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.files: dict[str, IdentityFile] = {}

    async def both_are_trusted(self, door: Door) -> None:
        hands, files = self.hands, self.files
        files["fra-n1"], files["fra-n2"] = await door.join("fra-n1"), await door.join("fra-n2")
        now_ms, new = door.now_ms, str(hands.root)
        hands.run("root", "--add", new, at_ms=now_ms - 62 * DAY_MS)
        (old, other) = hands.pins(now_ms)
        assert hands.pins(now_ms) == {old: True, other: False}
        hands.vouch(door.office.root)
        authority = ("authority", "--root-key", new)
        early = hands.run(*authority, at_ms=now_ms - 60 * DAY_MS, code=2)
        assert "some machines do not trust that root before" in early
        assert "not signed by another root yet" in hands.run(
            "root", "--drop", old, at_ms=now_ms, code=4
        )
        await door.known.own.look()
        await renew(door, files["fra-n1"])
        assert len(roots_of(files["fra-n1"].read().roots)) == 2
        await beats(door, files["fra-n1"])
        hands.run(*authority, at_ms=now_ms - 31 * DAY_MS)

    async def the_new_one_signs(self, door: Door) -> None:
        hands, files = self.hands, self.files
        await door.known.own.look()
        assert list(hands.pins(door.now_ms).values()) == [False, True]
        await beats(door, files["fra-n1"])  # by the old one still
        before = files["fra-n1"].path.read_bytes()
        await renew(door, files["fra-n1"])
        assert files["fra-n1"].path.read_bytes() != before
        (door.directory / "by-old.pem").write_bytes(before)
        await beats(door, files["fra-n1"])
        assert (await door.token("fra-n1")).pin == list(hands.pins(door.now_ms))[1]
        old, _ = hands.pins(door.now_ms)
        early = hands.run("root", "--drop", old, at_ms=door.now_ms - 20 * DAY_MS, code=4)
        assert "machines may have certificates by it until" in early
        hands.run("root", "--drop", old, at_ms=door.now_ms)
        assert len(hands.pins(door.now_ms)) == 2, "all controllers drop it together"
        await door.known.own.look()
        assert len(hands.pins(door.now_ms)) == 2, "this controller signed by it until now"
        (told,) = (await door.store.list(SIGNERS)).entries
        note = decode(SigningNote, told.value)
        past = replace(note, since_ms=note.since_ms - 32 * DAY_MS)
        await door.store.commit([Put(key=told.key, value=encode(past))])
        await door.known.own.look()

    async def the_old_one_is_gone(self, door: Door) -> None:
        hands, files = self.hands, self.files
        assert list(hands.pins(door.now_ms).values()) == [True]
        await door.known.own.look()
        await beats(door, files["fra-n1"])
        await renew(door, files["fra-n1"])
        assert len(roots_of(files["fra-n1"].read().roots)) == 1
        context = client_context(files["fra-n1"], believing, stranger=True)
        context.load_cert_chain(door.directory / "by-old.pem")
        with pytest.raises(httpx2.TransportError):
            await door.ask(context, "GET", "/healthz")
        with pytest.raises(UnavailableError, match="certificate"):
            await beats(door, files["fra-n2"])
        await come_back(door, files["fra-n2"])  # the old root has vouched for the new one
        await beats(door, files["fra-n2"])


def test_one_root_takes_the_place_of_another_and_no_machine_is_cut_off(hands: Hands) -> None:
    rehearsal = Rehearsal(hands)
    first = serve(hands.directory, rehearsal.both_are_trusted)
    second = serve(hands.directory, rehearsal.the_new_one_signs, first)
    serve(hands.directory, rehearsal.the_old_one_is_gone, second)


def test_a_controller_that_was_away_takes_what_the_others_trust(hands: Hands) -> None:
    other = Office(PLATFORM.name, 1_700_000_000_000).root.certificate
    note = RootNote(pin=rotating.pin_text(other), certificate=other, since_ms=7)

    async def story(door: Door) -> None:
        await door.known.own.look()
        (own,) = decode(RootNotes, (await door.store.list(ROOTS_KEY)).entries[0].value).roots
        assert own.pin == door.known.own._signer.pin
        notes = RootNotes(roots=(own, note))
        await door.store.commit([Put(key=ROOTS_KEY, value=encode(notes))])
        await door.known.own.look()
        assert list(hands.pins(door.now_ms)) == [own.pin, note.pin]
        assert len(roots_of((await door.join("fra-n1")).read().roots)) == 2, "who joins has all"
        gone = RootNotes(roots=(own, replace(note, drop=RootDrop.DONE)))
        await door.store.commit([Put(key=ROOTS_KEY, value=encode(gone))])
        await door.known.own.look()
        assert list(hands.pins(door.now_ms)) == [own.pin]

    serve(hands.directory, story)


def test_what_another_root_has_signed_signs_nothing(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        signer = door.known.own._signer
        signer.trust(Office(PLATFORM.name, 1_700_000_000_000).root.certificate)
        assert signer.life is None
        with pytest.raises(UnavailableError, match="controller authority"):
            await door.join("fra-n1")

    serve(tmp_path, story)


def test_the_only_root_is_not_dropped_and_one_is_not_added_twice(hands: Hands) -> None:
    door = Door(hands.directory)
    (own,) = hands.pins(door.now_ms)
    said = hands.run("root", "--drop", own, at_ms=door.now_ms, code=4)
    assert "it is the only root" in said
    for _ in range(2):
        hands.run("root", "--add", str(hands.root), at_ms=door.now_ms)
        assert len(hands.pins(door.now_ms)) == 2
    (_, added) = RootsFile(hands.directory / "c").read()
    assert added.since_ms == door.now_ms
    hands.run("root", "--drop", "0" * 64, at_ms=door.now_ms)
    assert len(hands.pins(door.now_ms)) == 2
    door.public.close()
    door.local.close()
