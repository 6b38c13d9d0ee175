"""What probes say, asked of real instances."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pltfrms.drivers.workload.probes.probe import NamespaceProber
from pltfrms.model.running.machine import Instance, ProbeAnswer
from pltfrms.model.services.probes import ProbeDns, ProbeHttp, ProbeUdp
from pltfrms.model.services.service import Probe, ProbeKind
from tests.contracts.test_workload import HTTP, SERVICE, healthy, real_machine, spec
from tests.drivers.workload.test_process import processes, until
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

TALKS = """
import http.server, socket, socketserver, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow": time.sleep(60)
        if self.path == "/silent": return
        if self.path == "/pieces":
            for part in (b"HT", b"TP/1.1 20", b"4 OK\\r\\n\\r\\n"):
                self.wfile.write(part); time.sleep(0.02)
            return
        if self.path == "/odd": self.wfile.write(b"SSH-2.0-what\\r\\n"); return
        ours = self.headers["Host"] in ("198.51.100.1", "[2001:db8:100::1]")
        self.send_response(int(self.path[1:] or 200) if ours else 400)
        self.end_headers()
class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
Server(("::", 80), Handler).serve_forever()
"""


ANSWERS = """
import socket, threading
def serve(port, answer):
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    one.bind(("::", port))
    while True:
        asked, where = one.recvfrom(2000)
        one.sendto(answer(asked), where)
def name_server(asked):
    record = b"\\xc0\\x0c\\0\\x01\\0\\x01\\0\\0\\0\\x3c\\0\\x04\\xc0\\0\\x02\\x01"
    return asked[:2] + b"\\x81\\x80\\0\\x01\\0\\x01\\0\\0\\0\\0" + asked[12:] + record
threading.Thread(target=serve, args=(53, name_server), daemon=True).start()
threading.Thread(target=serve, args=(7, lambda asked: asked[::-1]), daemon=True).start()
"""


def network_of_ours() -> Path:
    return Path("/proc/self/ns/net").readlink()


def ask(root: Path, scenario: Callable[[Instance], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        home = network_of_ours()
        machine = real_machine(root)
        instance = await machine.workload.start(spec(("python3", "-c", ANSWERS + TALKS)))
        await healthy(machine, instance)
        await scenario(instance)
        assert network_of_ours() == home

    in_machine(whole)


WELL = ProbeAnswer()


def test_every_failure_is_one_sentence(tmp_path: Path) -> None:
    async def scenario(instance: Instance) -> None:
        prober = NamespaceProber()
        tcp = Probe(kind=ProbeKind.TCP, port=80)
        for probe, said in (
            (HTTP, ""),
            (replace(HTTP, path="/204"), ""),
            (replace(HTTP, path="/302"), ""),
            (replace(HTTP, path="/pieces"), ""),
            (replace(HTTP, path="/404"), "http 198.51.100.1 port 80: /404 answers 404"),
            (replace(HTTP, path="/503"), "http 198.51.100.1 port 80: /503 answers 503"),
            (replace(HTTP, port=81), "http 198.51.100.1 port 81: Connection refused"),
            (
                replace(HTTP, path="/silent"),
                "http 198.51.100.1 port 80: closed without an answer",
            ),
            (
                replace(HTTP, path="/odd"),
                "http 198.51.100.1 port 80: not an HTTP answer: 'SSH-2.0-what'",
            ),
            (tcp, ""),
            (replace(tcp, port=81), "tcp 198.51.100.1 port 81: Connection refused"),
        ):
            assert await prober.probe(instance, probe, SERVICE) == ProbeAnswer(
                failure=said, unwell=said.endswith(("404", "503"))
            )
        only6 = await prober.probe(instance, replace(HTTP, port=81), SERVICE[1:])
        assert only6.failure == "http 2001:db8:100::1 port 81: Connection refused"
        prober.close()

    ask(tmp_path, scenario)


def test_a_hung_instance_costs_one_timeout(tmp_path: Path) -> None:
    async def scenario(instance: Instance) -> None:
        slow = replace(HTTP, path="/slow", timeout_ms=600)
        start = time.monotonic()
        said = await NamespaceProber().probe(instance, slow, SERVICE)
        assert 0.6 <= time.monotonic() - start < 5
        assert said == ProbeAnswer(failure="http 198.51.100.1 port 80: no answer within 600 ms")

    ask(tmp_path, scenario)


def test_a_command_is_asked_inside(tmp_path: Path) -> None:
    async def scenario(instance: Instance) -> None:
        prober = NamespaceProber()

        async def said(script: str, timeout_ms: int = 10_000) -> ProbeAnswer:
            command = ("sh", "-c", script)
            probe = Probe(kind=ProbeKind.EXEC, command=command, timeout_ms=timeout_ms)
            return await prober.probe(instance, probe, ())

        assert await said('test "$(hostname)" = web.fra.1-1 && ip link show eth0') == WELL
        assert await said(f'test "$PWD" = "{tmp_path}/lib/instances/web.fra.1-1"') == WELL
        assert await said("kill -0 1 && test $(ls -d /proc/[0-9]* | wc -l) -lt 10") == WELL
        assert await said("exit 3") == ProbeAnswer(
            failure="sh: exited with status 3", unwell=True
        )
        before = processes()
        start = time.monotonic()
        assert await said("sleep 77 & sleep 78", 300) == ProbeAnswer(
            failure="sh: took longer than 300 ms"
        )
        assert time.monotonic() - start < 10
        await until(lambda: processes() <= before)
        absent = Probe(kind=ProbeKind.EXEC, command=("no-such-command",), timeout_ms=10_000)
        assert await prober.probe(instance, absent, ()) == ProbeAnswer(
            failure="no-such-command: exited with status 127", unwell=True
        )

    ask(tmp_path, scenario)


def test_a_vanished_instance_is_no_surprise(tmp_path: Path) -> None:
    async def scenario(instance: Instance) -> None:
        gone = replace(instance, pid=99999)
        prober = NamespaceProber()
        lost = ProbeAnswer(failure="cannot ask the instance: it is gone")
        assert await prober.probe(gone, HTTP, SERVICE) == lost
        command = Probe(kind=ProbeKind.EXEC, command=("true",), timeout_ms=10_000)
        assert await prober.probe(gone, command, ()) == lost

    ask(tmp_path, scenario)


def test_datagrams_and_bodies_are_asked_inside_on_every_address(tmp_path: Path) -> None:
    async def scenario(instance: Instance) -> None:
        prober = NamespaceProber()
        dns = ProbeDns(name="www.example.net", answer="192.0.2.1")
        udp = ProbeUdp(send="abc", expect="cba")
        slow = Probe(kind=ProbeKind.DNS, port=53, dns=dns, timeout_ms=3000)
        echo = replace(slow, kind=ProbeKind.UDP, port=7, udp=udp)
        for probe, said in (
            (slow, ""),
            (
                replace(slow, dns=replace(dns, answer="192.0.2.9")),
                "dns 198.51.100.1 port 53: www.example.net A answers 192.0.2.1, not 192.0.2.9",
            ),
            (echo, ""),
            (replace(echo, port=8), "udp 198.51.100.1 port 8: Connection refused"),
            (replace(HTTP, path="/503", http=ProbeHttp(status=(503,))), ""),
            (
                replace(HTTP, http=ProbeHttp(body="x")),
                "http 198.51.100.1 port 80: / answers 200, without 'x'",
            ),
        ):
            answer = await prober.probe(instance, probe, SERVICE)
            assert answer.failure == said
            assert answer.unwell is ("answers" in said)
        prober.close()

    ask(tmp_path, scenario)
