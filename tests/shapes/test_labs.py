"""The platforms of this directory as labs: clients are answered, and nothing private leaves."""

import os
import subprocess
import sys
import time

import pytest

from bench.rig import running_lab
from pltfrms.errors import NotFoundError
from pltfrms.lab.client.client import find_lab
from tests.shapes.answers import check_answers
from tests.shapes.shapes import DIRECTORY, WITH_LABS, read

pytestmark = [pytest.mark.live, pytest.mark.calm, pytest.mark.root, pytest.mark.timeout(300)]

ELSEWHERE = {
    "instances-that-ask",
    "regional-aggregates",
    "two-lines-to-each",
    "two-servers",
    "vlans-and-bonds",
}
"""Tests of their own have these running, and look for the same there."""


@pytest.mark.parametrize("name", [name for name in WITH_LABS if name not in ELSEWHERE])
def test_every_client_is_answered_by_its_nearest_and_hears_only_what_is_ours(name: str) -> None:
    shape = read(name)
    with running_lab(shape.directory, f"shape-{os.getpid()}") as (client, ready):
        check_answers(shape, client, ready)


_KILLED = """
import sys
from pathlib import Path
from bench.rig import running_lab
with running_lab(Path(sys.argv[1]), sys.argv[2]):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_a_lab_ends_with_who_started_it_however_that_ends() -> None:
    name = f"killed-{os.getpid()}"
    words = (sys.executable, "-c", _KILLED, str(DIRECTORY / "one-site"), name)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        assert find_lab(name).machines()
        starter.kill()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            find_lab(name)
        except NotFoundError:
            return
        time.sleep(0.1)
    raise AssertionError("it runs on")
