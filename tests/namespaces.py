"""Run a scenario in a machine of its own: net, pid, mount and uts namespaces.

Whatever the scenario leaves behind ends with the machine, also when it fails.
"""

import asyncio
import ctypes
import os
import signal
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Never

import pytest

Scenario = Callable[[], Coroutine[Any, Any, None]]

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWUTS, _NEWIPC, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 1 << 29, 1 << 30
_MS_REC_PRIVATE = 0x4000 | 1 << 18
_PDEATHSIG = 1
_OK = "ok"
_SKIPPED = "skipped: "


def in_machine(scenario: Scenario, *, groups: bool = False) -> None:
    """Run the scenario to its end; AssertionError with its traceback if it fails.

    Without `groups` the machine has no cgroup tree, as machines of a lab.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _be_machine(scenario, writer, groups=groups)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        words = pipe.read()
    os.waitpid(child, 0)
    if words.startswith(_SKIPPED):
        pytest.skip(words.removeprefix(_SKIPPED))
    assert words == _OK, words or "the machine ended before its scenario"


def _be_machine(scenario: Scenario, writer: int, *, groups: bool) -> Never:
    _die_with_parent()
    if _LIBC.unshare(_NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET):
        os.write(writer, b"cannot make namespaces")
        os._exit(1)
    init = os.fork()
    if not init:
        _be_init(scenario, writer, groups=groups)
    os.close(writer)
    os.waitpid(init, 0)
    os._exit(0)


def _be_init(scenario: Scenario, writer: int, *, groups: bool) -> Never:
    """Be pid 1: reap what is orphaned until the scenario has ended."""
    _die_with_parent()
    _LIBC.mount(None, b"/", None, _MS_REC_PRIVATE, None)
    _LIBC.mount(b"proc", b"/proc", b"proc", 0, None)
    if not groups:
        _LIBC.mount(b"none", b"/sys/fs/cgroup", b"tmpfs", 0, None)
    player = os.fork()
    if not player:
        _play(scenario, writer)
    while os.wait()[0] != player:
        pass
    os._exit(0)


def _play(scenario: Scenario, writer: int) -> Never:
    words = _OK
    try:
        asyncio.run(scenario())
    except pytest.skip.Exception as skipped:
        words = _SKIPPED + str(skipped)
    except BaseException:  # noqa: BLE001 - told to the parent, which raises
        words = traceback.format_exc()
    os.write(writer, words.encode()[:60_000])
    os._exit(0)


def _die_with_parent() -> None:
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL)
