"""After all that other live tests did in this lab: no daemon has complained of us.

And nothing that was to be kept secret is found where it is not promised.
"""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from bench.rig import Rig
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import PltfrmsError
from pltfrms.lab.rundir import LABS

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

COMPLAINT = re.compile(r'<(ERR|FATAL|BUG)>|"level": ?"(error|critical)"|Traceback')
HARMLESS = re.compile(
    r"<ERR> (K(RT|IF): Received (route|address message) "
    r"|ospf\.underlay: Socket error on \S+: (No buffer space available|Network is unreachable))"
)
"""BIRD hears of an instance's interface before it is complete, or after it is gone; it reads
all of it again a few seconds later. And the kernel refuses what is sent into a veth just while
its far end goes down, as in every power cut here, or while the port comes up and has no way for
multicast yet: a hello is lost that nobody would hear, or that the next one makes good."""

VAULT = """\
service: vault
run:
  process: [sleep, infinity]
  cpu: 0.1
  memory: 16MiB
  secrets:
    vault: {variable: VAULT, file: vault}
replicas: {per_datacenter: 1, datacenters: [fra]}
probe: {exec: ["true"]}
rollout: {bake: 0s}
"""


def traces(value: bytes) -> list[bytes]:
    """Return what a value looks like in what is not its own: plain, in base64, in hex."""
    shifted = (base64.b64encode(b"\0" * n + value)[4:-4] for n in range(3))
    return [value, *shifted, value.hex().encode()]


def holders(value: bytes) -> dict[int, set[str]]:
    """Return the processes that were called with a value, or have it in their environment.

    By mount namespace, since each instance has its own.
    """
    found: dict[int, set[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            said = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            if value in said:
                name = (process / "comm").read_text().strip()
                found.setdefault((process / "ns/mnt").stat().st_ino, set()).add(name)
    return found


def answers(rig: Rig) -> Iterator[bytes]:
    """Yield what controllers say to every question that needs no name."""
    with OperatorClient(rig.client.controller_endpoints()) as operator:

        def asked(path: str) -> bytes:
            try:
                with operator.raw(path, {}) as answer:
                    return b"".join(answer.parts())
            except PltfrmsError as error:
                return str(error).encode()

        paths = json.loads(asked("/openapi.json"))["paths"]
        plain = [path for path, verbs in paths.items() if "get" in verbs and "{" not in path]
        assert {"/v1/snapshot", "/v1/view", "/v1/stream", "/v1/events"} < {*plain}
        yield from (asked(f"{path}?for_ms=1&stale=true") for path in plain)
        yield asked("/v1/services/vault/versions")
        yield asked("/v1/services/vault/logs")


def on_disks(rig: Rig, wanted: list[bytes]) -> list[str]:
    """Return the files of all machines, and of the lab, that have something of it in them.

    What machines have written on their disks is in the lab's directory, for its own to see.
    """
    search = ("grep", "-rlsF", "-D", "skip", "-f", "-")
    places = [
        rig.client.exec_argv(each.name, (*search, "/run")) for each in rig.client.machines()
    ]
    enter = ("nsenter", f"--target={rig.client.info().root_pid}", "--mount", "--")
    places.append([*enter, *search, str(LABS / rig.client.name)])
    found = []
    for command in places:
        done = subprocess.run(
            command, input=b"\n".join(wanted), capture_output=True, check=False, timeout=60
        )
        found += done.stdout.decode().splitlines()
    return found


def test_a_secret_is_found_nowhere_but_where_it_is_promised(
    healthy: Rig, tmp_path: Path
) -> None:
    spec, given = tmp_path / "vault.yaml", tmp_path / "value"
    spec.write_text(VAULT)
    values = [f"{uuid4().hex}{uuid4().hex}".encode() for _ in range(2)]
    every = [trace for value in values for trace in traces(value)]
    given.write_bytes(values[0])
    healthy.cli("secret", "set", "vault", "--file", str(given))
    healthy.cli("apply", str(spec), "--yes", "--wait")
    given.write_bytes(values[1])
    healthy.cli("secret", "rotate", "vault", "--file", str(given), "--yes")
    healthy.wait("the newer value", lambda: bool(holders(values[1])), 60)
    healthy.wait("the older one gone", lambda: not holders(values[0]), 60)
    assert [*holders(values[1]).values()] == [{"sleep"}]
    allocations = healthy.snapshot().allocations.values()
    newest = max((e for e in allocations if e.service == "vault"), key=lambda e: e.number)
    inside = f"/var/lib/pltfrms/instances/{newest.id}/secrets/vault"
    assert healthy.run("instance/vault/fra/1", "cat", inside).encode() == values[1]
    marked = "/var/log/pltfrms/marked"
    healthy.run(newest.node, "sh", "-c", f"printf %s {values[1].hex()} >{marked}")
    found = on_disks(healthy, every)
    assert [path.endswith("/log/pltfrms/marked") for path in found] == [True]
    healthy.run(newest.node, "rm", marked)
    assert on_disks(healthy, every) == []
    said = [*answers(healthy)]
    said += [
        healthy.cli(*words).encode()
        for words in (
            ("status",),
            ("audit", "list", "--json"),
            ("service", "show", "vault"),
            ("service", "show", "vault", "--spec"),
            ("secret", "list", "--json"),
        )
    ]
    assert [text[:200] for text in said for each in every if each in text] == []
    healthy.cli("service", "delete", "vault", "--yes")
    healthy.cli("secret", "delete", "vault", "--yes")


@pytest.mark.parametrize("_after", ["some", pytest.param("others", marks=pytest.mark.alone)])
def test_daemons_have_clean_logs(healthy: Rig, _after: str) -> None:
    seen: dict[str, list[str]] = {}
    lines = 0
    for machine in healthy.client.machines():
        text = healthy.run(
            machine.name,
            "sh",
            "-c",
            "for name in bird agent controller; do "
            "file=/var/log/pltfrms/$name.log; [ ! -e $file ] || cat $file; done",
        )
        lines += text.count("\n")
        complaints = [
            line
            for line in text.splitlines()
            if COMPLAINT.search(line) and not HARMLESS.search(line)
        ]
        if complaints:
            seen[machine.name] = complaints[:5]
    assert lines > 100, "no logs were read"
    assert not seen
