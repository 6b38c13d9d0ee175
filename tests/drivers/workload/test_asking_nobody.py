"""What a prober that lacks something itself says of instances: nothing."""

import asyncio
import errno
import os
import subprocess
from ipaddress import IPv4Address

import pytest

from pltfrms.drivers.workload.probes import probe as probe_module
from pltfrms.drivers.workload.probes.probe import NamespaceProber
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import Instance, ProbeAnswer
from pltfrms.model.services.probes import ProbeHttp
from pltfrms.model.services.service import Probe, ProbeKind

WEB = Instance(allocation="web.fra.1-1", device="i1", pid=os.getpid(), fingerprint="f")
PLAIN = Probe(kind=ProbeKind.TCP, port=80)
MORE = Probe(kind=ProbeKind.HTTP, port=80, http=ProbeHttp(body="ready"))


@pytest.mark.parametrize("probe", [PLAIN, MORE])
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOENT])
def test_who_is_not_asked_for_want_of_files_is_not_called_gone(
    monkeypatch: pytest.MonkeyPatch, probe: Probe, code: int
) -> None:
    def enter(*_: object) -> None:
        """Stay here: the door to other namespaces needs root."""

    def inside(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(probe_module, "_enter", enter)
    monkeypatch.setattr(probe_module, "_inside", inside)

    async def ask() -> ProbeAnswer:
        prober = NamespaceProber()
        try:
            return await prober.probe(WEB, probe, [IPv4Address("198.51.100.1")])
        finally:
            prober.close()

    if code == errno.EMFILE:
        with pytest.raises(UnavailableError, match="cannot ask instances: Too many open files"):
            asyncio.run(ask())
    else:
        assert asyncio.run(ask()).failure == "cannot ask the instance: it is gone"


def test_who_is_not_asked_for_want_of_a_process_has_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", start)
    probe = Probe(kind=ProbeKind.EXEC, command=("true",))

    async def ask() -> ProbeAnswer:
        prober = NamespaceProber()
        try:
            return await prober.probe(WEB, probe, ())
        finally:
            prober.close()

    with pytest.raises(UnavailableError, match="cannot run nsenter"):
        asyncio.run(ask())
