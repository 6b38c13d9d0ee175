"""`machine bundle`, `replace` and `leave`, against a controller that answers by TLS."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.cli.machine.leaving import _is_believed
from pltfrms.cli.main import main
from pltfrms.codec import decode, encode
from pltfrms.controller.records.auditing import Asked
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.errors import ForbiddenError, PltfrmsError, UnavailableError, VersionError
from pltfrms.model.identity.words import Bundle, JoinToken, TokenAsk, TokenReply
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import MachineStatus
from pltfrms.planner.identity import access
from tests.api.door import Door, serve
from tests.cli.test_identity import Killer, Site
from tests.cli.world import EXAMPLE, PLATFORM

SECRET = "5" * 64
TUNNEL = "kind: wireguard, endpoints: [203.0.113.1, 203.0.113.11]"
SPEC = (EXAMPLE / "platform.yaml").read_text().replace("kind: direct", TUNNEL, 1)
DRAINED = Interventions(drains=(Drain(node="fra-n1", since_ms=1, wait_ms=0),))


class Recorder:
    """What a service manager is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fails = ""

    def start(self, *units: str) -> None:
        self._tell("start", units)

    def restart(self, *units: str) -> None:
        self._tell("restart", units)

    def stop(self, *units: str) -> None:
        self._tell("stop", units)

    def _tell(self, verb: str, units: tuple[str, ...]) -> None:
        words = f"{verb} {' '.join(units)}"
        if self.fails and self.fails in words:
            raise UnavailableError(f"{words}: no")
        self.told.append(words)


@pytest.fixture(autouse=True)
def units(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    """Nothing of the machine that runs the tests is started, stopped or cleared."""
    known = Recorder()
    monkeypatch.setattr("tests.api.door.PLATFORM", PLATFORM)
    monkeypatch.setattr("pltfrms.drivers.units.Units", lambda: known)
    monkeypatch.setattr("pltfrms.agent.main.clear", lambda _: known.told.append("clear"))
    tool = tmp_path / "bin" / "systemctl"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    return known


async def run(*words: str) -> int:
    return await asyncio.to_thread(main, list(words))


async def bundled(door: Door, verb: str = "bundle", name: str = "fra-e1") -> Path:
    """Have a controller write a bundle that says where the door is."""
    (door.directory / "backbone.secret").write_text(SECRET)
    (door.directory / "backbone.secret").chmod(0o600)
    path, spec = door.directory / f"{name}.bundle", door.directory / "platform.yaml"
    spec.write_text(SPEC)
    yes = ["--yes"] if verb == "replace" else []
    words = ["machine", verb, name, "--output", str(path), *yes]
    local = f"unix:{door.directory / 'c.sock'}"
    assert await run(*words, f"--config={door.directory}", "--controller", local) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    bundle = decode(Bundle, path.read_bytes())
    assert bundle.controllers[0] == str(PLATFORM.loopback6(PLATFORM.machine("fra-c1")))
    path.write_bytes(encode(replace(bundle, controllers=(f"127.0.0.1:{door.port}",))))
    return path


def join(site: Site, bundle: Path) -> list[str]:
    return ["join", "--bundle", str(bundle), "--json", *site.places]


def leave(site: Site, door: Door, *more: str) -> list[str]:
    places = [*site.places, f"--runtime={site.directory / 'run'}"]
    return ["machine", "leave", "--yes", "--controller", door.url, *places, *more]


def know(site: Site, interventions: Interventions, machine: str = "fra-n1") -> None:
    known = Target(
        machine=machine, generation=1, platform=PLATFORM, interventions=interventions
    )
    (site.directory / "var/target.json").write_bytes(encode(known))


def have_store(site: Site) -> None:
    """Have what a controller has of the store."""
    store = StoreFiles(site.directory / "var")
    store.begin(PLATFORM.name)
    store.furnish_member("fra-c1", ())
    assert all(each.is_file() for each in (store.path, store.member, store.trusted))


async def is_believed(door: Door, site: Site) -> bool:
    agent = door.agent(site.file)
    name = site.file.read().machine
    try:
        await agent.heartbeat(Heartbeat(status=MachineStatus(machine=name)))
    except UnavailableError as error:
        if "has not joined" in str(error) or "has joined again" in str(error):
            return False
        raise
    finally:
        await agent.close()
    return True


def test_a_machine_joins_with_one_file(tmp_path: Path, units: Recorder) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "fra-e1")
        assert await run(*join(site, await bundled(door))) == 0
        await door.seen()
        assert await is_believed(door, site)
        config = site.directory / "etc"
        assert (config / "machine").read_text() == "fra-e1\n"
        assert (config / "platform.yaml").read_text() == SPEC
        assert (config / "backbone.secret").read_text() == SECRET
        assert (config / "backbone.secret").stat().st_mode & 0o777 == 0o600
        assert units.told == [
            "start pltfrms-agent.service pltfrms-bird.path",
            "restart pltfrms-agent.service pltfrms-controller.service",
            "start pltfrms.target",
        ]

    serve(tmp_path / "door", story)


def test_a_directory_of_configuration_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        config = site.directory / "etc"
        config.mkdir()
        config.chmod(0o700)
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        assert config.stat().st_mode & 0o7777 == 0o700

    serve(tmp_path / "door", story)


def test_a_machine_without_tunnels_gets_no_secret(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        path = await bundled(door, name="fra-n1")
        assert decode(Bundle, path.read_bytes()).backbone_secret == ""

    serve(tmp_path / "door", story)


def test_join_with_a_bundle_may_be_killed_at_every_step_and_repeated(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        kills = 0
        for at in range(1, 8):
            for when in ("before", "after"):
                site, path = Site(tmp_path / f"{at}{when}"), await bundled(door)
                kills += await asyncio.to_thread(killer.kills, join(site, path), at, when)
                assert await run(*join(site, path)) == 0
                await door.seen()
                assert await is_believed(door, site)
        assert kills == 12

    with Killer() as killer:
        serve(tmp_path / "door", story)


def test_what_is_no_bundle_is_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        site, path = Site(tmp_path / "a"), await bundled(door)
        good = decode(Bundle, path.read_bytes())
        other = JoinToken.of(good.token)
        wrong = {
            "is no bundle": b"{",
            "that is no token": encode(replace(good, token="x")),  # noqa: S106 - it is none
            "not the platform of the token": encode(
                replace(good, token=replace(other, pin="0" * 64).text)
            ),
            "has no machine": encode(replace(good, token=replace(other, machine="x").text)),
            "not YAML": encode(replace(good, platform="platform: [")),
        }
        for words, text in wrong.items():
            path.write_bytes(text)
            assert await run(*join(site, path)) == 2, words
            assert words in capsys.readouterr().err
        path.write_bytes(encode(good))
        path.chmod(0o644)
        assert await run(*join(site, path)) == 2
        assert "may be read by others" in capsys.readouterr().err
        assert await run(*join(site, path), "-") == 2
        assert not site.file.there
        assert not (site.directory / "etc/machine").exists()

    serve(tmp_path / "door", story)


def test_a_bundle_makes_no_other_machine_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        assert await run(*join(site, await bundled(door))) == 4
        assert "is fra-n1 of example already" in capsys.readouterr().err
        assert (site.directory / "etc/machine").read_text() == "fra-n1\n"

    serve(tmp_path / "door", story)


def test_no_token_is_made_for_a_bundle_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        local = ["--controller", f"unix:{door.directory / 'c.sock'}"]
        spec = tmp_path / "platform.yaml"
        spec.write_text(SPEC)
        words = ["machine", "bundle", "--platform", str(spec), *local, "--output"]
        to = str(tmp_path / "x.bundle")
        place = f"--config={door.directory}"
        for name, output, code, said in (
            ("fra-e1", to, 2, "backbone.secret"),
            ("none", to, 4, "has no machine"),
            ("fra-n1", str(tmp_path / "none/x"), 2, "no directory"),
        ):
            assert await run(*words, output, name, place) in {code, 2}, name
            assert said in capsys.readouterr().err
        assert not [
            each.key for each in (await door.store.list("/pltfrms-identity/tokens/")).entries
        ]

    serve(tmp_path / "door", story)


def test_a_machine_is_replaced_and_the_older_one_is_believed_no_more(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        old, new = Site(tmp_path / "old"), Site(tmp_path / "new")
        assert await run(*join(old, await bundled(door))) == 0
        path = await bundled(door, "replace")
        await door.seen()
        assert not await is_believed(door, old)
        assert await run(*join(new, path)) == 0
        await door.seen()
        assert await is_believed(door, new)
        assert not await is_believed(door, old)

    serve(tmp_path / "door", story)


def test_a_controller_that_cannot_make_void_is_not_believed_to_have_done_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        identities, real = door.known.identities, door.known.identities.make_token

        async def older(ask: TokenAsk, asked: Asked) -> TokenReply:
            return replace(await real(replace(ask, void=False), asked), void=False)

        monkeypatch.setattr(identities, "make_token", older)
        spec = door.directory / "platform.yaml"
        spec.write_text(SPEC)
        words = ["machine", "replace", "fra-n1", "--yes", f"--config={door.directory}"]
        to = ["--output", str(tmp_path / "x.bundle")]
        local = ["--controller", f"unix:{door.directory / 'c.sock'}"]
        assert await run(*words, *to, *local) == 4
        assert "older release" in capsys.readouterr().err
        assert not (tmp_path / "x.bundle").exists()

    serve(tmp_path / "door", story)


def test_a_machine_leaves_once_it_is_drained_and_leaves_nothing(
    tmp_path: Path, units: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        site, kept = Site(tmp_path / "a"), Site(tmp_path / "kept")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        know(site, Interventions())
        assert await run(*leave(site, door)) == 4
        assert "pltfrms node drain fra-n1" in capsys.readouterr().err
        await door.seen()
        assert await is_believed(door, site)
        know(site, DRAINED)
        row = site.directory / "var/volumes/db.fra.1@1/data/row"
        row.parent.mkdir(parents=True)
        row.write_text("precious")
        have_store(site)
        kept.file.directory.mkdir(parents=True)
        kept.file.path.write_bytes(site.file.path.read_bytes())
        kept.file.path.chmod(0o600)
        units.told.clear()
        assert await run(*leave(site, door), "--json") == 0
        said = capsys.readouterr().out
        assert json.loads(said[said.index("{\n") :])["machine"] == "fra-n1"
        await door.seen()
        assert not await is_believed(door, kept)
        left = [*(site.directory / "etc").iterdir(), *(site.directory / "var").iterdir()]
        assert [each.name for each in left] == ["volumes"]
        assert row.read_text() == "precious"
        assert [each.partition(" ")[0] for each in units.told] == ["stop"] * 4 + ["clear"]
        assert await run(*leave(site, door)) == 0
        assert "nothing to do" in capsys.readouterr().out

    serve(tmp_path / "door", story)


@pytest.mark.parametrize(
    "unit", ["pltfrms-agent", "pltfrms-bird", "pltfrms-instances", "slice"]
)
def test_leaving_is_repeated_after_it_was_interrupted(
    tmp_path: Path, units: Recorder, unit: str
) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        know(site, DRAINED)
        await door.seen()
        units.fails = unit
        assert await run(*leave(site, door)) == 5
        assert (site.directory / "etc/machine").exists()
        units.fails = ""
        assert await run(*leave(site, door)) == 0
        assert not (site.directory / "etc/machine").exists()

    serve(tmp_path / "door", story)


def test_a_machine_that_was_told_nothing_leaves_only_if_somebody_insists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        assert await run(*leave(site, door)) == 4
        assert "not known what counts on this machine" in capsys.readouterr().err
        assert site.file.there
        assert await run(*leave(site, door), "--now") == 0

    serve(tmp_path / "door", story)


def test_leaving_goes_on_where_forgetting_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir

    def interrupted(path: Path) -> None:
        raise UnavailableError(f"{path} stays")

    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        know(site, DRAINED)
        await door.seen()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "iterdir", lambda at: iter(sorted(listed(at), key=Path.is_dir)))
            patch.setattr("pltfrms.cli.machine.leaving.shutil.rmtree", interrupted)
            assert await run(*leave(site, door)) == 5
        assert site.file.there
        assert not (site.directory / "var/target.json").exists()
        assert await run(*leave(site, door)) == 0
        assert not (site.directory / "etc/machine").exists()

    serve(tmp_path / "door", story)


def test_an_older_controller_is_not_believed_to_have_made_void_who_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        know(site, DRAINED)
        await door.seen()
        known = access._MACHINES - {("POST", "/v1/identity/leave")}
        monkeypatch.setattr(access, "_MACHINES", known)
        assert await run(*leave(site, door)) == 4
        assert "older release" in capsys.readouterr().err
        assert site.file.there
        assert await run(*leave(site, door), "--now") == 0

    serve(tmp_path / "door", story)


@pytest.mark.parametrize(
    ("answer", "believed"),
    [(VersionError("what is this"), True), (ForbiddenError("it is void"), False)],
)
def test_who_is_let_in_is_believed_whatever_it_is_told(
    answer: PltfrmsError, *, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: object) -> None:
        raise answer

    client = OperatorClient(["https://127.0.0.1:1"], tls=lambda plain: plain)
    monkeypatch.setattr(client, "get", get)
    assert _is_believed(client, "fra-n1") is believed


def test_who_joins_again_amid_its_leave_must_be_drained_to_leave(
    tmp_path: Path, units: Recorder
) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        know(site, DRAINED)
        await door.seen()
        units.fails = "stop"
        assert await run(*leave(site, door)) == 5
        units.fails = ""
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        know(site, Interventions())
        await door.seen()
        assert await run(*leave(site, door)) == 4
        assert await is_believed(door, site)

    serve(tmp_path / "door", story)


def test_a_machine_whose_answer_was_lost_is_void_and_still_leaves(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        know(site, DRAINED)
        await bundled(door, "replace", "fra-n1")
        await door.seen()
        assert await run(*leave(site, door)) == 0

    serve(tmp_path / "door", story)


def test_without_a_controller_nothing_is_stopped_before_somebody_insists(
    tmp_path: Path, units: Recorder
) -> None:
    async def story(door: Door) -> None:
        site = Site(tmp_path / "a")
        assert await run(*join(site, await bundled(door, name="fra-n1"))) == 0
        know(site, DRAINED)
        units.told.clear()
        nobody = ["--controller", "https://127.0.0.1:1", "--timeout", "1s"]
        words = [each for each in leave(site, door) if each not in {"--controller", door.url}]
        assert await run(*words, *nobody) == 5
        assert units.told == []
        assert await run(*words, *nobody, "--now") == 0
        assert units.told

    serve(tmp_path / "door", story)
