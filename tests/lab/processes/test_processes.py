"""What a daemon of a lab machine gets of the processors."""

import json
import os

import pytest

from pltfrms.lab.processes.processes import fork, share_processor


@pytest.mark.root
@pytest.mark.parametrize("alone", [True, False])
def test_a_daemon_with_a_larger_share_keeps_it_from_what_it_starts_if_asked(
    *, alone: bool
) -> None:
    reader, writer = os.pipe()

    def grandchild() -> None:
        os.write(writer, json.dumps(_niceness()).encode() + b"\n")

    def child() -> None:
        os.setsid()
        share_processor(-7, alone=alone)
        os.write(writer, json.dumps(_niceness()).encode() + b"\n")
        os.waitpid(fork(grandchild), 0)

    os.waitpid(fork(child), 0)
    os.close(writer)
    with os.fdopen(reader) as said:
        own, inherited = (json.loads(line) for line in said)
    assert own == -7
    assert inherited == (0 if alone else -7)


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)
