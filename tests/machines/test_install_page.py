"""The page of the installation, command by command, on machines with systemd.

`docs/install.md` says what is run where (`page.py`). What an owner has before is made here:
three machines of Debian 12 and 13 with lines, addresses and a kernel, hosters, a client, and an
`scp` that reaches all machines.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.machines.bed import (
    LEFT_IN_KERNEL,
    ROOT,
    Disk,
    Machine,
    eventually,
    forget_dead,
    tree,
)
from tests.machines.internet import SITES, Internet
from tests.machines.page import Act, Step, steps_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.live,
    pytest.mark.calm,
    pytest.mark.timeout(900),
    pytest.mark.heavy,
]

PAGE = ROOT / "docs/install.md"
SUITES = {"fra1": "bookworm", "ams1": "trixie", "lon1": "bookworm"}
PASSPHRASE = "correct horse battery"  # noqa: S105 - a test's
COMPUTER, CLIENT, EVERY = "your own computer", "a client", "every machine"
_SECONDS = 400.0
ANSWER_SECONDS = 180.0
"""From the first command on a machine to the first answer, with all processors."""
# What machines of a test lack, and a doctor says: a clock of their own, cores.
_PRELUDE = """cd /root
pltfrms() { command pltfrms "$@" || { [ "$?:$1" = 4:doctor ]; }; }
"""
_SCP = """#!/bin/sh
# scp FROM... TO, where root@NAME:PATH is a file of a machine.
set -eu
enter() { # machine, script, argument...
    pid=$(cat "@PIDS@/$1") script=$2
    shift 2
    nsenter -t "$pid" -a -- env -i HOME=/root PATH=/usr/bin:/bin sh -euc "cd; $script" sh "$@"
}
machine() { case $1 in root@*:*) m=${1#root@}; echo "${m%%:*}" ;; esac; }
for to; do :; done
held=$(mktemp)
trap 'rm -f "$held"' EXIT
while [ $# -gt 1 ]; do
    from=$1 name=${1##*/} at=$(machine "$1") there=$(machine "$to")
    name=${name#root@*:}
    shift
    if [ "$at" ]; then
        enter "$at" 'cat -- "$1"' "${from#*:}" >"$held"
    else
        cat -- "$from" >"$held"
    fi
    if [ "$there" ]; then
        put='to=${1:-.}; [ ! -d "$to" ] || to=$to/$2; cat >"$to"'
        enter "$there" "$put" "${to#*:}" "$name" <"$held"
    else
        [ "$to" != . ] || to=@HERE@
        cp "$held" "$to/$name"
    fi
done
"""


class Site:
    """All places that the page names."""

    def __init__(self, directory: Path) -> None:
        """Make disks, hosters, a client and the owner's computer; machines have no power."""
        forget_dead()
        self._files = {name: tree(suite) for name, suite in SUITES.items()}
        self._disks = {name: Disk() for name in SITES}
        self._internet = Internet(directory)
        self._machines: dict[str, Machine] = {}
        self._directory = directory
        for each in ("bin", "pids", "here"):
            (directory / each).mkdir()
        scp = directory / "bin/scp"
        told = _SCP.replace("@PIDS@", f"{directory}/pids").replace(
            "@HERE@", f"{directory}/here"
        )
        scp.write_text(told)
        scp.chmod(0o755)

    def named(self, place: str) -> tuple[str, ...]:
        """Return the machines that a place of the page is."""
        names = tuple(SITES) if place == EVERY else (place,)
        assert set(names) <= set(SITES), f"{place} is no place"
        return names

    def boot(self, names: Iterable[str]) -> None:
        for name in names:
            found = Machine(name, self._files[name], self._disks[name])
            self._machines[name] = found
        for name in names:
            found = self._machines[name].ready()
            self._internet.connect(found)
            (self._directory / "pids" / name).write_text(str(found.pid))

    def machine(self, name: str) -> Machine:
        """Return a machine that has power."""
        return self._machines[name]

    def furnish(self) -> None:
        """Have apt take from the disk alone: what is recommended would have to be loaded."""
        for machine in self._machines.values():
            machine.put("/etc/apt/apt.conf.d/90bed", 'APT::Install-Recommends "false";\n')

    def cut(self, names: Iterable[str]) -> None:
        for name in names:
            self._machines.pop(name).power_off()

    def run(self, place: str, script: str) -> str:
        """Run commands where the page says; AssertionError if one fails."""
        if place == COMPUTER:
            path = f"{self._directory}/bin:{os.environ['PATH']}"
            return said(["bash", "-euxc", script], env={**os.environ, "PATH": path})
        if place == CLIENT:
            return said(self._internet.client.enter("bash", "-euxc", script))
        with ThreadPoolExecutor() as pool:
            return "".join(pool.map(lambda name: self._run(name, script), self.named(place)))

    def _run(self, name: str, script: str) -> str:
        words = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
        enter = [
            "nsenter",
            "-t",
            str(self._machines[name].pid),
            "-a",
            "--",
            "env",
            "-i",
            *words,
        ]
        return said([*enter, "bash", "-euxc", _PRELUDE + script], f"{PASSPHRASE}\n" * 2)

    def processor_seconds(self) -> float:
        """Return for how long machines and what was run for them have had a processor."""
        ran = os.times()
        its = sum(each.processor_seconds() for each in self._machines.values())
        return its + ran.user + ran.system + ran.children_user + ran.children_system

    def end(self) -> None:
        self.cut(list(self._machines))
        self._internet.end()
        for disk in self._disks.values():
            disk.end()


def said(command: list[str], text: str = "", env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_SECONDS,
        cwd=ROOT,
        env=env,
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}"
    return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if os.geteuid():
        pytest.skip("needs root")
    made = Site(tmp_path)
    try:
        made.boot(SITES)
        made.furnish()
        yield made
    finally:
        made.end()


def act(site: Site, step: Step) -> None:
    if step.act is Act.RUN:
        site.run(step.place, step.script)
    elif step.act is Act.CUT:
        site.cut(site.named(step.place))
    else:
        site.boot(site.named(step.place))


def nothing_is_left(site: Site, name: str) -> None:
    """See that a machine that has left has no processes, routes, rules and files of ours."""
    machine = site.machine(name)
    ours = "(^|/)(bird|etcd|wireguard-go) |/usr/bin/pltfrms|http.server"
    eventually(lambda: machine.run("pgrep", "-af", ours, check=False) == "", "a daemon is left")
    for left in LEFT_IN_KERNEL:
        assert machine.sh(f"{left} || true") == "", left
    places = "/etc/pltfrms /var/lib/pltfrms /run/pltfrms"
    assert machine.sh(f"find {places} -mindepth 1") == ""
    assert machine.run("systemctl", "--failed", "--quiet") == ""


def tell(what: str) -> None:
    print(what, file=sys.stderr)  # noqa: T201 - how long it takes, to be read


class Stopwatch:
    """How long something takes, and how much of the machine others had meanwhile."""

    def __init__(self, site: Site) -> None:
        """Begin."""
        self._site = site
        self._began, self._ours, self._all = self._read()

    def _read(self) -> tuple[float, float, float]:
        ticks = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
        busy = sum(ticks) - sum(ticks[3:5])  # idle, and waiting for a disk
        return (
            time.monotonic(),
            self._site.processor_seconds(),
            busy / os.sysconf("SC_CLK_TCK"),
        )

    def read(self) -> tuple[float, float]:
        """Return the seconds until now, and which part of all processors others had."""
        now, ours, every = self._read()
        seconds = now - self._began
        others = (every - self._all) - (ours - self._ours)
        return seconds, max(others, 0.0) / (seconds * (os.cpu_count() or 1))


def test_the_page_leads_from_nothing_to_an_answer_and_further(site: Site) -> None:
    watch: Stopwatch | None = None
    answered = 0.0
    for step in steps_of(PAGE.read_text()):
        if step.place != COMPUTER and not watch:
            watch = Stopwatch(site)
        started = time.monotonic()
        act(site, step)
        tell(f"{time.monotonic() - started:5.1f} s: {step.act} {step.place}")
        if step.place == CLIENT and watch and not answered:
            seconds, others = watch.read()
            answered = seconds * (1.0 - others)
            tell(
                f"answered {seconds:.0f} s after the first command on a machine, of which "
                f"others had {others:.0%} of the processors: {answered:.0f} s without them"
            )
    assert 0.0 < answered <= ANSWER_SECONDS
    nothing_is_left(site, "lon1")
