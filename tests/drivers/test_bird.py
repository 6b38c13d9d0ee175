"""The driver against a real BIRD without any protocol that touches the system."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pltfrms.drivers.bird import BirdDaemon
from pltfrms.drivers.memory_bird import MemoryBird
from pltfrms.drivers.ports import Bird
from pltfrms.errors import InvariantError, UnavailableError
from pltfrms.model.machine import BgpState

BASE = "router id 192.0.2.1;\nprotocol device {}\n"
SESSION = """
protocol bgp 'node.fra-n1.a' {
  local fe80::e:1 as 64500;
  neighbor fe80::a:1%'fab-a' as 4200001001;
  ipv4 { import none; export none; };
}
"""
RESTARTED = 'define PLTFRMS_TEXT = "somebody else";\n'


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
        twin.refusal, twin.running = "", False
        assert await bird.apply("two") == "gen-2: in place for the next start of BIRD"
        with pytest.raises(UnavailableError):
            await bird.sessions()
        twin.running = True
        assert "older one" in await bird.apply("two")

    asyncio.run(story())


def test_the_driver_keeps_to_its_port(tmp_path: Path) -> None:
    bird: Bird = BirdDaemon(tmp_path, tmp_path / "bird.ctl")
    assert bird is not None
