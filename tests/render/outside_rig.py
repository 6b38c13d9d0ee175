"""One edge of ours with a real BIRD, and the world around it, in three network namespaces."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pltfrms.model.network.topology import Platform
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import NORMAL, Conditions
from tests.render.namespaces import eventually, run
from tests.render.outside_world import EDGE, PLATFORM, world_text


class Rig:
    """The three namespaces."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tag = f"out{os.getpid()}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._roas = directory / "roas.json"

    # ---- questions and commands ------------------------------------------------------------

    def namespace(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def ip(self, name: str, words: str) -> str:
        return run("ip", "-n", self.namespace(name), *words.split())

    def execute(self, name: str, *words: str) -> str:
        return run("ip", "netns", "exec", self.namespace(name), *words)

    def birdc(self, name: str, words: str) -> str:
        return run("birdc", "-s", str(self.directory / f"{name}.ctl"), words)

    def apply(
        self, conditions: Conditions = NORMAL, platform: Platform = PLATFORM, extra: str = ""
    ) -> None:
        """Have the edge run what these say."""
        self._write(render_bird(platform, EDGE, conditions) + extra)
        self.birdc("edge", "configure")

    def up(self, protocol: str) -> bool:
        return "Established" in self.birdc("edge", f"show protocols '{protocol}'")

    def sessions_down(self) -> set[str]:
        lines = self.birdc("edge", 'show protocols "peer.*"').splitlines()[2:]
        return {line.split()[0] for line in lines if "Established" not in line}

    def routes(self, name: str, words: str) -> dict[str, str]:
        """Return what `show route WORDS all` says, by prefix."""
        found: dict[str, str] = {}
        prefix = ""
        for line in self.birdc(name, f"show route {words} all").splitlines():
            first = re.match(r"([0-9a-f.:]+/\d+)\s", line)
            prefix = first.group(1) if first else prefix
            if prefix:
                found[prefix] = found.get(prefix, "") + line + "\n"
        return found

    def seen(self, peer: str, family: int = 4) -> dict[str, str]:
        """Return the routes that a neighbour has from us."""
        return self.routes("world", f"table t_{peer}{family} where source = RTS_BGP")

    # ---- building --------------------------------------------------------------------------

    def build(self) -> None:
        for hook in ("import", "export"):
            (self.directory / "hooks" / hook).mkdir(parents=True)
        for name in ("edge", "world", "leaky"):
            run("ip", "netns", "add", self.namespace(name))
            self.ip(name, "link set lo up")
        for interface in ("x-up", "x-cust", "fab-a"):
            self._veth("world", interface)
        self._veth("leaky", "x-leaky")
        self.ip("edge", "addr add 10.1.254.1/32 dev lo")
        self.ip("edge", "addr add fd00:77::1:e:1/128 dev lo")
        self._addresses()
        self._bird("world", world_text())
        self._cache()
        self._bird("edge", render_bird(PLATFORM, EDGE))
        for aggregate in PLATFORM.aggregates:
            family = f"-{aggregate.prefix.version}"
            words = f"{family} route add unreachable {aggregate.prefix} table 101 proto 181"
            self.ip("edge", words)

    def _veth(self, far: str, interface: str) -> None:
        names = (self.namespace("edge"), self.namespace(far))
        run(
            *f"ip -n {names[0]} link add {interface} type veth".split(),
            *f"peer name {interface} netns {names[1]}".split(),
        )
        for name in ("edge", far):
            sysctl = f"net.ipv6.conf.{interface}.keep_addr_on_down=1"
            self.execute(name, "sysctl", "-qw", sysctl)
            self.ip(name, f"link set {interface} up")

    def _addresses(self) -> None:
        self.ip("edge", "addr add fe80::e:1/64 dev fab-a nodad")
        self.ip("world", "addr add fe80::a:1/64 dev fab-a nodad")
        self.ip("edge", "addr add 203.0.113.109/24 dev x-up")
        self.ip("world", "addr add 203.0.113.9/24 dev x-up")
        for peer in PLATFORM.peers:
            far = "leaky" if peer.name == "leaky" else "world"
            session = peer.sessions[0]
            for ours, theirs in zip(session.ours, session.theirs, strict=True):
                nodad = "nodad" if ours.version == 6 else ""
                words = f"dev {session.interface} {nodad}"
                self.ip("edge", f"addr replace {ours} {words}")
                self.ip(far, f"addr add {theirs}/{ours.network.prefixlen} {words}")

    def _write(self, text: str) -> None:
        log = str(self.directory / "edge.log")
        text = text.replace("/var/log/pltfrms/bird.log", log)
        text = text.replace("/[e]tc/pltfrms/bird.local", str(self.directory / "hooks"))
        (self.directory / "edge.conf").write_text(text)

    def hook(self, name: str, text: str) -> None:
        """Write a file of the operator's own, as in /etc/pltfrms/bird.local."""
        (self.directory / "hooks" / name).write_text(text)

    def _bird(self, name: str, text: str) -> None:
        if name == "edge":
            self._write(text)
        else:
            text = text.replace("LOG", str(self.directory / f"{name}.log"))
            (self.directory / f"{name}.conf").write_text(text)
        control = self.directory / f"{name}.ctl"
        config = str(self.directory / f"{name}.conf")
        self._start(name, "bird", "-f", "-c", config, "-s", str(control))
        assert eventually(control.exists, 5), name

    def roas(self, *more: tuple[str, int, int]) -> None:
        """Have the RPKI cache say what it always says, and (prefix, longest, ASN) of each."""
        always = (
            ("31.64.0.0/16", 16, 3320),
            ("31.65.0.0/16", 24, 1299),
            ("31.18.0.0/24", 24, 64500),
            ("31.18.4.0/24", 24, 1299),
        )
        listed = [
            {"prefix": prefix, "maxLength": longest, "asn": asn}
            for prefix, longest, asn in (*always, *more)
        ]
        self._roas.write_text(json.dumps({"metadata": {}, "roas": listed}))

    def _cache(self) -> None:
        self.roas()
        words = f"-bind [::1]:3323 -cache {self._roas} -checktime=false -refresh 1"
        self._start("edge", "stayrtr", *words.split(), "-metrics.addr", "")

    def speak(self, *counts: int) -> None:
        """Let the leaky neighbour announce so many prefixes in each of its sessions."""
        script = str(Path(__file__).with_name("speaker.py"))
        words = ("198.18.9.2", "198.18.9.102", "64507", *map(str, counts))
        self._start("leaky", sys.executable, script, *words)

    def _start(self, name: str, *words: str) -> None:
        command = ("ip", "netns", "exec", self.namespace(name), *words)
        with (self.directory / f"{words[0].rsplit('/')[-1]}.out").open("ab") as out:
            self._processes.append(subprocess.Popen(command, stdout=out, stderr=out))

    def remove(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for name in ("edge", "world", "leaky"):
            words = ("ip", "netns", "del", self.namespace(name))
            subprocess.run(words, capture_output=True, check=False)


@contextmanager
def rig(directory: Path) -> Iterator[Rig]:
    made = Rig(directory)
    try:
        made.build()
        yield made
    finally:
        made.remove()
