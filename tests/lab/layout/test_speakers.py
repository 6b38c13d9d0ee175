"""What daemons of the emulated internet are told."""

import os
import subprocess
from pathlib import Path

import pytest

from pltfrms.lab.layout.speakers import speaker_reload
from pltfrms.model.network.lab import Daemon


@pytest.mark.parametrize("daemon", [Daemon.FRR, Daemon.GOBGP, Daemon.OPENBGPD])
@pytest.mark.parametrize(("says", "fine"), [(0, True), (1, True), (2, False), (3, False)])
def test_a_daemon_that_does_not_run_need_not_be_ended(
    tmp_path: Path, daemon: Daemon, says: int, *, fine: bool
) -> None:
    stand_in = tmp_path / "pkill"
    stand_in.write_text(f'#!/bin/sh\necho "$*"\nexit {says}\n')
    stand_in.chmod(0o755)
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    done = subprocess.run(
        ("env", f"PATH={path}", *speaker_reload(daemon)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("-x "), "the stand-in was asked"
    assert (done.returncode == 0) is fine
