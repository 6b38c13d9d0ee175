"""The driver against a real BIRD without any protocol that touches the system."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from pltfrms.drivers.bird.daemon import BirdDaemon
from pltfrms.drivers.bird.memory import MemoryBird
from pltfrms.drivers.bird.ports import Bird
from pltfrms.errors import ConflictError, InvariantError, UnavailableError
from pltfrms.model.running.machine import BgpState
from tests.simulation.virtual import VirtualClock, run_virtual

BASE = "router id 192.0.2.1;\nprotocol device {}\n"
SESSION = """
protocol bgp 'node.fra-n1.a' {
  local fe80::e:1 as 64500;
  neighbor fe80::a:1%'fab-a' as 4200001001;
  ipv4 { import none; export none; };
}
"""
RESTARTED = 'define PLTFRMS_TEXT = "somebody else";\n'


DYING = """
import asyncio, pathlib, sys
from pltfrms.drivers.bird.daemon import BirdDaemon
async def begin():
    home = pathlib.Path(sys.argv[1])
    bird = BirdDaemon(home / "bird", home / "bird.ctl")
    text = (home / "new.conf").read_text()
    print(await bird.apply(text, revert_after_seconds=1), flush=True)
    await asyncio.sleep(60)
asyncio.run(begin())
"""
SPEAKER = """router id 192.0.2.{id};
protocol device {{}}
protocol static 'static.a' {{
  ipv4;
  route 10.{id}.0.0/24 blackhole;
  route 10.{id}.1.0/24 blackhole;
  route 10.{id}.2.0/24 blackhole;
}}
protocol bgp 'peer.x.ipv4' {{
  local 127.0.0.{id} port {ours} as 6450{id};
  neighbor 127.0.0.{other} port {theirs} as 6450{other};
  multihop; connect delay time 1; connect retry time 1; error wait time 1, 1;
  ipv4 {{
    import keep filtered on;
    import filter {{
      bgp_large_community.add((64501, 15, net.len - 18));
      if net = 10.{other}.0.0/24 then reject;
      accept;
    }};
    export all;
  }};
}}
"""


class Daemon:
    """A BIRD of our own, started and ended by the test."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "bird.ctl"
        self.driver = BirdDaemon(directory / "bird", self.socket)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, config: Path) -> None:
        words = ("bird", "-f", "-c", str(config), "-s", str(self.socket))
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        for _ in range(100):
            try:
                await self.driver.sessions()
            except UnavailableError:
                await asyncio.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.socket.unlink()
            self._process = None


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> bool:
    """Return whether it becomes true in time."""
    for _ in range(int(seconds / 0.05)):
        if await condition():
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.stop()


def test_a_new_text_reaches_bird_and_an_equal_one_changes_nothing(daemon: Daemon) -> None:
    async def story() -> None:
        bird = daemon.driver
        assert (await bird.apply(BASE)).startswith("gen-1: in place for the next start")
        assert await bird.apply(BASE) == "unchanged; BIRD is not running"
        assert bird.config.stat().st_mode & 0o777 == 0o640, "passwords of sessions are in it"
        await daemon.start(bird.config)
        assert await bird.sessions() == ()
        assert await bird.apply(BASE) == "unchanged"
        assert await bird.apply(BASE + SESSION) == "gen-2: reconfigured"
        expected = BgpState(name="node.fra-n1.a", up=False, detail="Idle")
        assert await bird.sessions() == (expected,)
        for number in range(7):
            await bird.apply(f"{BASE}# {number}\n")
        assert len(list(bird.config.parent.parent.glob("gen-*"))) == 5

    asyncio.run(story())


def test_a_text_that_bird_refuses_leaves_everything_as_it_was(daemon: Daemon) -> None:
    async def story() -> None:
        bird = daemon.driver
        await bird.apply(BASE)
        await daemon.start(bird.config)
        with pytest.raises(InvariantError, match=r"3:1.*syntax error"):
            await bird.apply(BASE + "nonsense;\n")
        assert "nonsense" not in bird.config.read_text()
        assert [path.name for path in bird.config.parent.parent.glob("gen-*")] == ["gen-1"]
        assert await bird.apply(BASE) == "unchanged"

    asyncio.run(story())


def test_a_refused_reconfiguration_puts_the_old_text_back(tmp_path: Path) -> None:
    """The parser said yes and the running BIRD says no: say its words ourselves."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"0001 BIRD 2.0.12 ready.\n")
        await reader.readline()
        writer.write(b"0002-Reading configuration\n8002 bird.conf: no memory\n")
        await reader.read()
        writer.close()

    async def story() -> None:
        bird = BirdDaemon(tmp_path / "bird", tmp_path / "bird.ctl")
        assert not bird.start_config.exists()
        await bird.apply(BASE)
        assert bird.start_config.resolve() == bird.config.resolve()
        server = await asyncio.start_unix_server(refuse, tmp_path / "bird.ctl")
        async with server:
            with pytest.raises(InvariantError, match="no memory"):
                await bird.apply(BASE + SESSION)
        assert bird.config.parent.readlink() == Path("gen-1")
        assert "node.fra-n1" not in bird.config.read_text()

    asyncio.run(story())


def test_a_bird_that_runs_an_older_text_is_told(daemon: Daemon, tmp_path: Path) -> None:
    async def story() -> None:
        other = tmp_path / "other.conf"
        other.write_text(BASE + RESTARTED)
        await daemon.driver.apply(BASE + SESSION)
        await daemon.start(other)
        done = await daemon.driver.apply(BASE + SESSION)
        assert done == "unchanged, but BIRD ran an older one: reconfigured"

    asyncio.run(story())


def test_a_silent_bird_is_an_error_with_a_name(tmp_path: Path) -> None:
    bird = BirdDaemon(tmp_path, tmp_path / "bird.ctl")
    with pytest.raises(UnavailableError, match="no answer from BIRD"):
        asyncio.run(bird.sessions())


def test_a_trial_that_is_confirmed_stays(daemon: Daemon) -> None:
    async def story() -> None:
        bird = daemon.driver
        await bird.apply(BASE)
        await daemon.start(bird.config)
        assert await bird.running() == BASE
        done = await bird.apply(BASE + SESSION, revert_after_seconds=1)
        assert done == "gen-2: on trial for 1 s"
        assert await bird.running() == BASE + SESSION
        assert "node.fra-n1" not in bird.config.read_text()  # a new BIRD would take the old one
        with pytest.raises(ConflictError, match="gen-2 is on trial"):
            await bird.apply(BASE)
        await bird.confirm()
        await asyncio.sleep(1.5)
        assert await bird.running() == BASE + SESSION
        assert bird.config.parent.readlink() == Path("gen-2")
        assert await bird.apply(BASE + SESSION, revert_after_seconds=1) == "unchanged"
        await bird.confirm()
        assert await bird.revert() == "nothing is on trial"

    asyncio.run(story())


def test_a_trial_that_nobody_confirms_is_undone_by_bird_itself(
    daemon: Daemon, tmp_path: Path
) -> None:
    """The dead-man switch: the agent that began the trial is gone."""

    async def story() -> None:
        await daemon.driver.apply(BASE)
        await daemon.start(daemon.driver.config)
        (tmp_path / "new.conf").write_text(BASE + SESSION)
        after = BirdDaemon(daemon.driver.config.parent.parent, daemon.socket)
        agent = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", DYING, str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert agent.stdout is not None
        assert await agent.stdout.readline() == b"gen-2: on trial for 1 s\n"
        agent.kill()
        await agent.wait()
        assert await after.running() == BASE + SESSION

        async def is_back() -> bool:
            return await after.running() == BASE

        assert await eventually(is_back, 3.0)
        assert "node.fra-n1" not in after.config.read_text()
        assert await after.apply(BASE) == "unchanged"

    asyncio.run(story())


def test_a_new_agent_ends_the_trial_of_a_dead_one(daemon: Daemon) -> None:
    async def story() -> None:
        await daemon.driver.apply(BASE)
        await daemon.start(daemon.driver.config)
        await daemon.driver.apply(BASE + SESSION, revert_after_seconds=1)
        after = BirdDaemon(daemon.driver.config.parent.parent, daemon.socket)
        done = await after.apply(BASE)
        assert done == "unchanged, but BIRD ran an older one: reconfigured"
        assert await after.running() == BASE
        await asyncio.sleep(1.3)
        assert await after.running() == BASE

    asyncio.run(story())


def test_a_trial_is_reverted_at_once(daemon: Daemon) -> None:
    async def story() -> None:
        bird = daemon.driver
        await bird.apply(BASE)
        await daemon.start(bird.config)
        await bird.apply(BASE + SESSION, revert_after_seconds=60)
        assert await bird.revert() == "gen-2: reverted"
        assert await bird.running() == BASE
        await bird.apply(BASE + SESSION, revert_after_seconds=1)
        await asyncio.sleep(1.4)
        with pytest.raises(ConflictError, match="gen-3 was reverted by BIRD itself"):
            await bird.confirm()
        await bird.apply(BASE + SESSION, revert_after_seconds=1)
        await asyncio.sleep(1.4)
        assert await bird.revert() == "gen-4: BIRD has gone back by itself"
        for number in range(7):  # a row of failed trials does not take what is in force
            await bird.apply(f"{BASE}# {number}\n", revert_after_seconds=60)
            await bird.revert()
        assert await bird.apply(BASE) == "unchanged"
        await bird.apply(BASE + SESSION, revert_after_seconds=60)
        daemon.stop()
        assert "BIRD goes back by itself" in await bird.revert()

    asyncio.run(story())


def test_a_text_that_bird_refuses_is_never_on_trial(daemon: Daemon) -> None:
    async def story() -> None:
        bird = daemon.driver
        await bird.apply(BASE)
        with pytest.raises(UnavailableError):
            await bird.apply(BASE + SESSION, revert_after_seconds=5)
        await daemon.start(bird.config)
        with pytest.raises(InvariantError, match="syntax error"):
            await bird.apply(BASE + "nonsense;\n", revert_after_seconds=5)
        assert [path.name for path in bird.config.parent.parent.glob("gen-*")] == ["gen-1"]
        assert await bird.apply(BASE) == "unchanged"

    asyncio.run(story())


def test_sessions_have_counts_and_refused_routes_have_reasons(tmp_path: Path) -> None:
    async def story() -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        one, two = Daemon(tmp_path / "one"), Daemon(tmp_path / "two")
        ports = [_free_port("127.0.0.1"), _free_port("127.0.0.2")]
        text = SPEAKER.format(id=1, other=2, ours=ports[0], theirs=ports[1])
        try:
            await one.driver.apply(text)
            await two.driver.apply(
                SPEAKER.format(id=2, other=1, ours=ports[1], theirs=ports[0])
            )
            await one.start(one.driver.config)
            await two.start(two.driver.config)

            async def complete() -> bool:
                (state,) = await one.driver.sessions()
                return state.imported == 2

            assert await eventually(complete)
            (state,) = await one.driver.sessions()
            assert (state.name, state.up, state.detail) == ("peer.x.ipv4", True, "Established")
            assert (state.imported, state.exported, state.filtered) == (2, 3, 1)
            assert await one.driver.rejects(64501) == {"peer.x.ipv4": {6: 1}}
            assert await one.driver.caches() == ()
        finally:
            one.stop()
            two.stop()

    asyncio.run(story())


def test_rpki_caches_are_told_from_sessions(daemon: Daemon) -> None:
    async def story() -> None:
        port = _free_port("127.0.0.1")
        cache = (
            "roa4 table r4;\nprotocol rpki 'rpki.1' {\n  roa4 { table r4; };\n"
            f"  remote 127.0.0.1 port {port};\n}}\n"
        )
        await daemon.driver.apply(BASE + cache)
        await daemon.start(daemon.driver.config)
        assert await daemon.driver.sessions() == ()
        (state,) = await daemon.driver.caches()
        assert (state.name, state.up) == ("rpki.1", False)

    asyncio.run(story())


def test_the_twin_keeps_the_same_rules() -> None:
    async def story() -> None:
        twin = MemoryBird()
        bird: Bird = twin
        assert await bird.apply("one") == "gen-1: reconfigured"
        assert await bird.apply("one") == "unchanged"
        twin.refusal = "no"
        with pytest.raises(InvariantError, match="no"):
            await bird.apply("two")
        assert (twin.configs, twin.loaded) == (["one"], "one")
        twin.refusal, twin.alive = "", False
        assert await bird.apply("two") == "gen-2: in place for the next start of BIRD"
        with pytest.raises(UnavailableError):
            await bird.sessions()
        twin.alive = True
        assert "older one" in await bird.apply("two")

    asyncio.run(story())


def test_the_twin_keeps_the_rules_of_a_trial() -> None:
    async def story() -> None:
        clock = VirtualClock()
        twin = MemoryBird(clock)
        await twin.apply("one")
        await twin.apply("two", revert_after_seconds=5)
        assert await twin.running() == "two"
        with pytest.raises(ConflictError):
            await twin.apply("one")
        await twin.confirm()
        await clock.sleep(9.0)
        assert (await twin.running(), twin.configs) == ("two", ["one", "two"])
        await twin.apply("three", revert_after_seconds=5)
        await clock.sleep(5.1)
        assert await twin.running() == "two"
        with pytest.raises(ConflictError, match="itself"):
            await twin.confirm()
        await twin.apply("three", revert_after_seconds=5)
        assert await twin.revert() == "reverted"
        assert (await twin.running(), twin.configs) == ("two", ["one", "two"])

    run_virtual(story())


def test_the_driver_keeps_to_its_port(tmp_path: Path) -> None:
    bird: Bird = BirdDaemon(tmp_path, tmp_path / "bird.ctl")
    assert bird is not None
