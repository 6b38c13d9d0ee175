"""`machine token` and `join` against a controller that answers by TLS."""

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.cli.main import main
from pltfrms.codec import encode
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import locked
from pltfrms.model.identity.words import JoinToken
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import MachineStatus
from tests.api.door import PLATFORM, Door, serve
from tests.cli.test_identity import Killer, Site


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """Return what the command wrote; the controller logs to the same place."""
    text = capsys.readouterr().out
    found = json.loads(text[text.index("{\n") :])
    assert isinstance(found, dict)
    return found


async def joined(site: Site, token: JoinToken, url: str) -> int:
    return await asyncio.to_thread(main, site.join(token.text, url))


def test_a_machine_joins_with_a_token_and_again_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        local = f"unix:{door.directory / 'c.sock'}"
        words = ["machine", "token", "fra-n1", "--json", "--controller", local]
        assert await asyncio.to_thread(main, words) == 0
        token = JoinToken.of(str(answer(capsys)["token"]))
        site = Site(tmp_path / "fra-n1")
        assert await joined(site, token, door.url) == 0
        said = answer(capsys)
        assert (said["machine"], said["changed"]) == ("fra-n1", True)
        assert (site.directory / "etc" / "machine").read_text() == "fra-n1\n"
        before = site.file.path.read_bytes()
        assert await joined(site, token, door.url) == 0
        assert answer(capsys)["changed"] is False
        assert site.file.path.read_bytes() == before
        assert [each.name for each in site.file.directory.iterdir()] == ["identity.pem"]

    serve(tmp_path / "door", story)


@pytest.mark.parametrize("how", ["input", "file"])
def test_a_token_need_not_be_a_word_that_all_users_of_the_machine_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def story(door: Door) -> None:
        text = f"{(await door.token('fra-n1')).text}\n"
        site, path = Site(tmp_path / "fra-n1"), tmp_path / "token"
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        path.write_text(text)
        words = ["-"] if how == "input" else ["--token-file", str(path)]
        more = ["--controller", door.url, *site.places]
        assert await asyncio.to_thread(main, ["join", *words, *more]) == 0
        assert site.file.read().machine == "fra-n1"
        for wrong in ([], ["-", "--token-file", str(path)], ["--token-file", str(tmp_path)]):
            assert await asyncio.to_thread(main, ["join", *wrong, *more]) == 2

    serve(tmp_path / "door", story)


def test_two_commands_that_make_an_identity_do_not_mix_theirs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        site, token = Site(tmp_path / "a"), await door.token("fra-n1")
        (site.directory / "var").mkdir()
        with locked(site.directory / "var"):
            assert await joined(site, token, door.url) == 4
        assert "another command gives this machine an identity" in capsys.readouterr().err
        assert await joined(site, token, door.url) == 0

    serve(tmp_path / "door", story)


@pytest.mark.parametrize("how", ["torn", "read by others"])
def test_a_machine_whose_identity_cannot_be_used_joins_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "fra-n1")
        assert await joined(site, await door.token("fra-n1"), door.url) == 0
        if how == "torn":
            site.file.path.write_text("{")
        else:
            site.file.path.chmod(0o644)
        assert await joined(site, await door.token("fra-n1"), door.url) == 0, (
            capsys.readouterr()
        )
        assert site.file.read().machine == "fra-n1"

    serve(tmp_path / "door", story)


def test_join_may_be_killed_at_every_step_and_repeated(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        kills = 0
        for at in range(1, 5):
            for when in ("before", "after"):
                token = await door.token("fra-n1")
                site = Site(tmp_path / f"{at}{when}")
                words = site.join(token.text, door.url)
                kills += await asyncio.to_thread(killer.kills, words, at, when)
                assert await joined(site, token, door.url) == 0
                await door.seen()
                agent = door.agent(site.file)
                await agent.heartbeat(Heartbeat(status=MachineStatus(machine="fra-n1")))
                await agent.close()
        assert kills == 6

    with Killer() as killer:
        serve(tmp_path / "door", story)


def test_another_machine_gets_nothing_with_a_used_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        token = await door.token("fra-n1")
        assert await joined(Site(tmp_path / "a"), token, door.url) == 0
        other = Site(tmp_path / "b")
        assert await joined(other, token, door.url) == 4
        assert "has been used" in capsys.readouterr().err
        assert not other.file.there

    serve(tmp_path / "door", story)


def test_who_answers_with_another_root_is_told_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        token = replace(await door.token("fra-n1"), pin="0" * 64)
        site = Site(tmp_path / "a")
        assert await joined(site, token, door.url) == 2
        assert "not the platform of the token" in capsys.readouterr().err
        assert not site.file.there

    serve(tmp_path / "door", story)


def test_a_machine_that_answers_with_the_roots_is_told_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Roots are known to all; only a controller has a certificate that says so."""

    async def story(door: Door) -> None:
        token = await door.token("fra-n1")
        node = await door.join("fra-n2")
        door.known.tls.load_cert_chain(node.path)
        site = Site(tmp_path / "a")
        assert await joined(site, token, door.url) == 5
        assert "Hostname mismatch" in capsys.readouterr().err
        assert not site.file.there

    serve(tmp_path / "door", story)


def test_a_machine_does_not_become_one_of_another_platform(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert main(site.bootstrap()) == 0
        before = site.file.path.read_bytes()
        assert await joined(site, await door.token("fra-n1"), door.url) == 4
        assert "is fra-c1 of example already" in capsys.readouterr().err
        assert site.file.path.read_bytes() == before

    serve(tmp_path / "door", story)


def test_nobody_makes_tokens_over_the_network_but_controllers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        node = await door.join("fra-n2")
        for state in (node.directory.parent, door.file.directory.parent):
            known = Target(machine="fra-n2", generation=1, platform=PLATFORM)
            (state / "target.json").write_bytes(encode(known))

        def on(state: Path) -> None:
            here = Directories(state=state, config=state)
            monkeypatch.setattr("pltfrms.cli.shared.connect._PLACES", here)

        words = ["machine", "token", "fra-n1", "--controller", door.url]
        on(node.directory.parent)
        assert await asyncio.to_thread(main, words) == 4
        assert "may see its own target" in capsys.readouterr().err
        on(door.file.directory.parent)
        assert await asyncio.to_thread(main, words) == 0
        on(tmp_path)
        assert await asyncio.to_thread(main, words) == 2
        assert "join with a token" in capsys.readouterr().err
        on(door.file.directory.parent)
        (door.file.directory.parent / "target.json").unlink()
        assert await asyncio.to_thread(main, words) == 2, "it knows no controllers"
        assert "platform.yaml" in capsys.readouterr().err

    serve(tmp_path / "door", story)
