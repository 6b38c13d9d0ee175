"""The init of a run ends it when its time is over, and nobody has to live for that."""

import signal
import subprocess
import sys
import time

import pytest

from pltfrms.drivers.workload.instance_init import _Life

POLITE = "import time; print('x', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {POLITE}"


@pytest.mark.parametrize(
    ("program", "ended_by"), [(POLITE, signal.SIGTERM), (DEAF, signal.SIGKILL)]
)
def test_it_is_asked_to_end_and_then_made_to(program: str, ended_by: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.read(2)
        life = _Life(50, 50)
        life.look(child.pid)
        assert child.poll() is None
        while child.poll() is None:
            left_ms = life.left_ms()
            assert left_ms is not None
            time.sleep(left_ms / 1000)
            life.look(child.pid)
            time.sleep(0.02)
        assert child.returncode == -ended_by


def test_without_a_lifetime_nothing_ends_it() -> None:
    life = _Life(0, 50)
    assert life.left_ms() is None
    life.look(-1)  # would be a signal to everybody
