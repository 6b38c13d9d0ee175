"""The agent as a process on a real kernel: instances, routes and BIRD outlive it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pltfrms import codec
from pltfrms.agent.control.targets import Targets
from pltfrms.agent.identity import controller_urls
from pltfrms.agent.main import boot_word, main, make_key, told_since
from pltfrms.drivers.disk import DirectoryDisk
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.sealing import NodeKey
from pltfrms.model.identity.lives import DAY_MS
from pltfrms.model.running.plan import Allocation, Reason, Target
from pltfrms.specfile import load_platform, load_service
from tests.drivers.identity.authority import Office
from tests.faulty_disk import ERRNOS, FaultyDisk
from tests.namespaces import in_machine
from tests.strategies import make_service

EXAMPLE = Path(__file__).parents[2] / "examples" / "three-datacenters"
PLATFORM = load_platform(EXAMPLE / "platform.yaml")
WEB = make_service(load_service(EXAMPLE / "web.yaml"))
ONE = Allocation(
    id="web.fra.1-1",
    service="web",
    datacenter="fra",
    replica=1,
    number=1,
    node="fra-n1",
    slot=7,
    version=1,
    reason=Reason.NEW_REPLICA,
)


@dataclass
class Node:
    """A machine with the files of fra-n1 and nobody else in the world any more."""

    root: Path
    agent: subprocess.Popen[bytes] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        names = ("config", "state", "runtime", "log")
        return tuple(word for name in names for word in (f"--{name}", str(self.root / name)))

    @property
    def target(self) -> Target:
        return Target(
            machine="fra-n1",
            generation=3,
            platform=PLATFORM,
            services=(WEB,),
            allocations=(ONE,),
        )

    def build(self) -> None:
        for name in ("config", "state", "runtime", "log"):
            (self.root / name).mkdir(exist_ok=True)
        (self.root / "config" / "machine").write_text("fra-n1\n")
        (self.root / "config" / "platform.yaml").write_text(
            (EXAMPLE / "platform.yaml").read_text()
        )
        (self.root / "state" / "target.json").write_bytes(codec.encode(self.target))
        for fabric in ("a", "b"):
            _ip(*f"link add fab-{fabric} type veth peer name wire-{fabric}".split())
            _ip(*f"link set wire-{fabric} up".split())
            _ip(*f"link set fab-{fabric} up".split())
        # What an edge told, and BIRD left.
        for words in ("-4 route add default via inet6", "-6 route add default via"):
            _ip(*f"{words} fe80::e:1 dev fab-a proto bird metric 32".split())

    def start(self) -> None:
        code = "import sys; from pltfrms.agent.main import main; sys.exit(main(sys.argv[1:]))"
        with (self.root / "agent.log").open("ab") as log:
            argv = (sys.executable, "-c", code, *self.words)
            self.agent = subprocess.Popen(argv, stderr=log)

    def stop(self) -> None:
        assert self.agent is not None
        self.agent.terminate()
        assert self.agent.wait(10) == 0, self.log

    @property
    def log(self) -> str:
        return (self.root / "agent.log").read_text()

    @property
    def init_pid(self) -> int:
        """First process of the instance; 0 while there is none."""
        record = self.root / "runtime" / "instances" / f"{ONE.id}.json"
        try:
            return int(json.loads(record.read_text())["pid"])
        except FileNotFoundError:
            return 0

    async def until(self, wanted: Callable[[], bool], seconds: float = 10.0) -> None:
        for _ in range(round(seconds * 50)):
            if wanted():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{routes()}\n{self.log[-5000:]}")


def _ip(*words: str) -> str:
    """Return what `ip` prints; nothing for a table that has never had a route."""
    done = subprocess.run(("ip", *words), check=False, capture_output=True, text=True)
    assert not done.returncode or "does not exist" in done.stderr, done.stderr
    return done.stdout


def _umount(directory: Path) -> None:
    subprocess.run(("umount", directory), check=True)


def routes() -> str:
    return _ip("route", "show", "table", "100") + _ip("-6", "route", "show", "table", "100")


def announced() -> bool:
    return "198.51.100.1 via" in routes() and "2001:db8:100::1 via" in routes()


async def _life_of_a_node(give: Callable[[Path], None] = lambda _state: None) -> None:
    with tempfile.TemporaryDirectory(prefix="agent-test-") as directory:
        node = Node(Path(directory))
        node.build()
        give(node.root / "state")
        node.start()
        await node.until(announced)
        assert "10.1.1.7 via inet6 fe80::2 dev i7" in routes()
        assert "lookup 100" in _ip("rule") + _ip("-6", "rule")
        assert (node.root / "state" / "bird" / "current" / "bird.conf").exists()
        first = node.init_pid

        os.kill(first, signal.SIGKILL)
        await node.until(lambda: node.init_pid not in {0, first} and announced())

        before, second = routes(), node.init_pid
        node.stop()
        assert (routes(), node.init_pid) == (before, second)
        (node.root / "config" / "platform.yaml").touch()  # somebody has just brought it
        node.start()
        await node.until(lambda: '"instance adopted"' in node.log)
        await asyncio.sleep(1.5)
        assert (routes(), node.init_pid) == (before, second)

        _ip(*["route", "flush", "table", "100"])
        _ip(*["rule", "del", "pref", "100"])
        await node.until(lambda: routes() == before and "lookup 100" in _ip("rule"), 1.0)
        await node.until(lambda: '"route restored"' in node.log, 1.0)
        said = node.root / "state" / "said"
        await node.until(lambda: not said.exists() or said.read_text() in node.log)
        node.stop()
        assert "failure" not in node.log
        os.kill(second, signal.SIGKILL)
        _umount(node.root / "runtime" / "bpf")  # the director's maps outlive the agent, too


@pytest.mark.root
def test_an_agent_alone_runs_announces_restarts_and_leaves_all_as_it_is() -> None:
    in_machine(_life_of_a_node)


def _made(days_ago: int) -> Callable[[Path], None]:
    """Return what gives a machine a certificate of another time, as if the clock were wrong."""
    now_ms = time.time_ns() // 1_000_000
    office = Office(PLATFORM.name, now_ms - days_ago * DAY_MS)

    def give(state: Path) -> None:
        office.identity(state, "fra-n1")

    return give


def _torn(state: Path) -> None:
    file = Office(PLATFORM.name, time.time_ns() // 1_000_000).identity(state, "fra-n1")
    file.path.write_text(file.path.read_text()[:700])


IDENTITIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "good, and no controller answers": (_made(0), "no controller answers"),
    "expired two months ago": (_made(90), '"part": "certificate of this machine"'),
    "by a clock ten years ahead": (_made(3650), '"part": "certificate of this machine"'),
    "by a clock in 1970": (_made(-20_000), "have it follow NTP"),
    "torn": (_torn, "join again"),
}


@pytest.mark.root
@pytest.mark.parametrize("name", IDENTITIES)
def test_whatever_its_certificate_is_a_machine_serves_on(name: str) -> None:
    give, said = IDENTITIES[name]

    def watched(state: Path) -> None:
        give(state)
        (state / "said").write_text(said)

    async def scenario() -> None:
        await _life_of_a_node(watched)

    in_machine(scenario)


def test_a_machine_without_a_name_is_told_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--{name}={tmp_path}" for name in ("config", "state", "runtime", "log")]
    assert main(words) == 2
    assert "must have the name of this machine" in capsys.readouterr().err
    (tmp_path / "machine").write_text("fra-n99\n")
    (tmp_path / "platform.yaml").write_text((EXAMPLE / "platform.yaml").read_text())
    assert main(words) == 2
    assert "has no machine fra-n99" in capsys.readouterr().err


def test_the_boot_word_lasts_as_long_as_the_runtime_directory(tmp_path: Path) -> None:
    assert boot_word(tmp_path / "one") == boot_word(tmp_path / "one")
    assert boot_word(tmp_path / "one") != boot_word(tmp_path / "two")


@pytest.mark.parametrize("code", ERRNOS)
def test_a_runtime_directory_without_room_keeps_no_agent_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    disk = FaultyDisk(monkeypatch, tmp_path)
    for after in range(4):
        with disk.failing(after, code):
            assert len(boot_word(tmp_path)) == 12
    (tmp_path / "boot").write_text("")  # torn by a version of us that wrote it in place
    word = boot_word(tmp_path)
    assert len(word) == 12
    assert boot_word(tmp_path) == (tmp_path / "boot").read_text() == word


@pytest.mark.parametrize("machine", ["fra-n1", "fra-e1"])
def test_every_machine_has_a_key_for_secrets_before_it_may_become_a_node(
    tmp_path: Path, machine: str
) -> None:
    directories = Directories(config=tmp_path, state=tmp_path)
    targets = Targets(machine, DirectoryDisk(tmp_path), lambda: PLATFORM)
    make_key(directories, targets)
    made = NodeKey(tmp_path).public
    assert made
    make_key(directories, targets)
    assert NodeKey(tmp_path).public == made


def test_an_agent_begins_also_where_no_key_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(_: NodeKey) -> None:
        os._exit(1)

    monkeypatch.setattr(NodeKey, "make", ended)
    directories = Directories(config=tmp_path, state=tmp_path)
    make_key(directories, Targets("fra-n1", DirectoryDisk(tmp_path), lambda: PLATFORM))
    assert "no key for secrets" in "".join(capsys.readouterr())


def test_a_platform_file_is_told_only_if_it_is_younger_than_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directories = Directories(config=tmp_path, state=tmp_path)
    file, target = tmp_path / "platform.yaml", tmp_path / "target.json"
    text = (EXAMPLE / "platform.yaml").read_text()
    file.write_text(text)
    targets = Targets("fra-n1", DirectoryDisk(tmp_path), lambda: PLATFORM)
    assert told_since(directories, targets) is None, "the file is all that there is"
    assert not any(capsys.readouterr()), "nothing is wrong"
    targets.accept(Target(machine="fra-n1", generation=3, platform=PLATFORM))
    os.utime(target, (2000, 2000))
    os.utime(file, (1000, 1000))
    assert told_since(directories, targets) is None
    os.utime(file, (3000, 3000))
    assert told_since(directories, targets) == PLATFORM
    file.write_text("nonsense")
    os.utime(file, (3000, 3000))
    assert told_since(directories, targets) is None
    file.write_text(text)
    targets.machine = "fra-n77"
    assert told_since(directories, targets) is None, "it is not for this machine"


def test_the_controller_of_the_own_datacenter_is_asked_first() -> None:
    urls = controller_urls(PLATFORM, "ams-n2")
    assert len(urls) == 3
    assert urls[0] == f"http://[{PLATFORM.loopback6(PLATFORM.machine('ams-c1'))}]:7480"
