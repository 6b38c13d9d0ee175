"""After all that other live tests did in this lab: no daemon has complained of us."""

import re

import pytest

from bench.rig import Rig

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
