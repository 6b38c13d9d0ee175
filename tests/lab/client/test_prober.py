"""The prober against a small real server with faults, and what a run is said to mean."""

import dataclasses
import errno
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.codec import decode
from pltfrms.errors import UsageError
from pltfrms.lab.client import prober
from pltfrms.lab.client.prober import ProbeRun, Sample, read_config, summarize

IPV4, IPV6 = "127.0.0.1", "::1"
BODY = json.dumps({"service": "web", "instance": "web.fra.1-1", "datacenter": "fra"}).encode()
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Server:
    """Answers one connection after the other on both loopback addresses."""

    def __init__(self) -> None:
        self.answer: bytes | None = GOOD  # None: reset the connection
        self._listeners: list[socket.socket] = []
        self._ended = False
        self._count = 0
        self.served = threading.Event()
        """Set when 100 connections were answered."""
        self.port = 0
        self.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def listen(self) -> None:
        for family, address in ((socket.AF_INET, IPV4), (socket.AF_INET6, IPV6)):
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, self.port))
            self.port = listener.getsockname()[1]
            listener.listen(1024)
            self._listeners.append(listener)

    def refuse(self, count: int = 2) -> None:
        for listener in self._listeners[:count]:
            with suppress(OSError):  # wakes the thread
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        del self._listeners[:count]

    def close(self) -> None:
        self._ended = True
        self.refuse()
        self._thread.join()

    def _serve(self) -> None:
        while not self._ended:
            with suppress(OSError, ValueError):  # a listener was closed under our hands
                for listener in select.select(self._listeners, [], [], 0.005)[0]:
                    self._serve_one(listener.accept()[0])

    def _serve_one(self, connection: socket.socket) -> None:
        with closing(connection):
            connection.settimeout(1)
            connection.recv(4096)
            if self.answer is None:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return
            connection.sendall(self.answer)
        self._count += 1
        if self._count == 100:
            self.served.set()


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as running:
        yield running


def start(server: Server, **changes: object) -> subprocess.Popen[str]:
    config = {"addresses": [IPV4, IPV6], "port": server.port, "path": "/", "rate": 200}
    return subprocess.Popen(
        [sys.executable, "-m", "pltfrms.lab.client.prober", json.dumps(config | changes)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": "src"},
    )


def finish(process: subprocess.Popen[str]) -> ProbeRun:
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return decode(ProbeRun, output)


# ---- against a server ----------------------------------------------------------------------


def test_a_service_without_faults_loses_nothing(server: Server) -> None:
    run = finish(start(server, duration_ms=1000))
    report = summarize(run, None)
    assert (report.sent, report.lost, report.gap_max_ms) == (200, 0, 0)
    assert report.errors == {}
    assert report.answered_by["before"] == {"fra": {"web.fra.1-1": 200}}
    assert {sample.address for sample in run.samples} == {IPV4, IPV6}
    assert report.latency_ms["p50"] is not None
    assert report.latency_ms["p50"] < 100


def test_the_schedule_is_absolute(server: Server) -> None:
    at = time.monotonic() + 0.2
    config = {"addresses": [IPV4], "port": server.port, "path": "/", "rate": 100}
    run = prober.probe(read_config(json.dumps(config | {"duration_ms": 300, "start_at": at})))
    dues = [round(sample.due_s - at, 4) for sample in run.samples]
    assert dues == [round(index / 100, 4) for index in range(30)]
    assert all(sample.lateness_ms >= 0 for sample in run.samples)


def test_a_start_in_the_past_means_now(server: Server) -> None:
    before = time.monotonic()
    config = {"addresses": [IPV4], "port": server.port, "path": "/", "rate": 100}
    run = prober.probe(read_config(json.dumps(config | {"duration_ms": 100, "start_at": 0.1})))
    assert before <= run.started_at_s <= run.samples[0].due_s + 1e-6


def test_an_outage_is_measured_within_two_intervals(server: Server) -> None:
    process = start(server, duration_ms=1500)
    assert server.served.wait(timeout=20)
    cut = time.monotonic()
    server.refuse()
    time.sleep(0.4)
    server.listen()
    healed = time.monotonic()
    run = finish(process)
    report = summarize(run, cut)
    outage_ms = (healed - cut) * 1000
    # One address is asked every 10 ms. A busy machine blurs it by what the run itself shows.
    blur_ms = max(sample.lateness_ms for sample in run.samples)
    blur_ms += max(sample.latency_ms for sample in run.samples if not sample.error)
    assert abs(report.gap_max_ms - outage_ms) <= 20 + blur_ms
    assert set(report.gap_max_ms_by_family) == {"ipv4", "ipv6"}
    assert report.errors.keys() <= {"refused", "reset"}
    assert report.lossless_after_s is not None
    assert abs(report.lossless_after_s * 1000 - outage_ms) <= 20 + blur_ms
    assert set(report.answered_by) == {"before", "after"}
    assert report.answered_by["before"]["fra"]["web.fra.1-1"] >= 90
    assert report.answered_by["after"]["fra"]["web.fra.1-1"] > 0


def test_one_dead_family_is_not_hidden_by_the_other(server: Server) -> None:
    server.refuse(1)  # IPv4
    report = summarize(finish(start(server, duration_ms=500)), None)
    assert report.lost == report.sent / 2
    assert report.gap_max_ms_by_family == {"ipv4": 500, "ipv6": 0}
    assert report.gap_max_ms == 500


def break_answers(server: Server) -> None:
    server.answer = b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n"


def break_body(server: Server) -> None:
    server.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def break_off(server: Server) -> None:
    server.answer = GOOD[:-5]


def break_connections(server: Server) -> None:
    server.answer = None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Server.refuse, "refused"),
        (break_connections, "reset"),
        (break_answers, "bad answer"),
        (break_body, "bad answer"),
        (break_off, "bad answer"),
    ],
)
def test_errors_are_told_apart(
    server: Server, fault: Callable[[Server], None], kind: str
) -> None:
    fault(server)
    report = summarize(finish(start(server, duration_ms=300)), None)
    assert report.errors == {kind: 60}
    assert (report.lost, report.gap_max_ms) == (60, 300)
    assert report.latency_ms == {"p50": None, "p99": None}


def test_what_is_answered_while_the_prober_has_no_processor_is_not_lost(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = prober._Prober._send

    def stalled(self: prober._Prober, index: int) -> None:
        send(self, index)
        if index == 3:
            time.sleep(0.6)  # less than the server waits for a question

    monkeypatch.setattr(prober._Prober, "_send", stalled)
    config = {"addresses": [IPV4], "port": server.port, "path": "/", "rate": 100}
    times = {"duration_ms": 100, "timeout_ms": 400}
    run = prober.probe(read_config(json.dumps(config | times)))
    assert summarize(run, None).errors == {}
    assert max(sample.lateness_ms for sample in run.samples) > 400, "it is said"


def test_a_silent_server_is_a_timeout_and_does_not_slow_the_schedule() -> None:
    with socket.socket() as silent:
        silent.bind((IPV4, 0))
        silent.listen(1024)
        config = {
            "addresses": [IPV4],
            "port": silent.getsockname()[1],
            "path": "/",
            "rate": 100,
            "duration_ms": 500,
            "timeout_ms": 200,
        }
        before = time.monotonic()
        run = prober.probe(read_config(json.dumps(config)))
        took = time.monotonic() - before
    assert summarize(run, None).errors == {"timeout": 50}
    # One after the other would take 10 s.
    assert 0.6 < took < 5
    assert all(sample.latency_ms - sample.lateness_ms > 199 for sample in run.samples)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENETUNREACH, "unreachable"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.EADDRNOTAVAIL, "prober"),
    ],
)
def test_what_the_kernel_refuses_is_told_apart(
    code: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_socket: socket.socket, _to: object) -> int:
        return code

    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    text = '{"addresses": ["::1"], "port": 1, "path": "/", "rate": 100, "duration_ms": 50}'
    report = summarize(prober.probe(read_config(text)), None)
    assert report.errors == {kind: 5}


@pytest.mark.parametrize(
    "changes",
    [
        {"addresses": []},
        {"addresses": ["example.org"]},
        {"addresses": "::1"},
        {"rate": 0},
        {"rate": "fast"},
        {"duration_ms": 0},
        {"timeout_ms": 0},
        {"path": "/ x\r\nEvil: 1"},
        {"prot": 1},
    ],
)
def test_a_wrong_configuration_is_refused(changes: dict[str, object]) -> None:
    config = {"addresses": [IPV4], "port": 80, "path": "/", "rate": 1, "duration_ms": 1000}
    assert read_config(json.dumps(config)).port == 80
    with pytest.raises(UsageError):
        read_config(json.dumps(config | changes))


def test_a_wrong_configuration_ends_the_process_with_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pltfrms.lab.client.prober", "{"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": "src"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a configuration of the prober" in done.stderr


def test_the_prober_imports_no_big_library() -> None:
    code = (
        "import sys, pltfrms.lab.client.prober;"
        "print({'pydantic', 'asyncio', 'http', 'structlog', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": "src"},
    )
    assert done.stdout == "set()\n"


# ---- what a run means ----------------------------------------------------------------------

T0 = 1000.0


def made(
    pattern: str, *, interval_s: float = 0.1, addresses: tuple[str, ...] = (IPV4,)
) -> ProbeRun:
    """Return a run; `.` is a success, `x` a loss."""
    samples = tuple(
        Sample(
            due_s=round(T0 + index * interval_s, 6),
            address=addresses[index % len(addresses)],
            lateness_ms=0.1,
            latency_ms=float(index),
            error="" if letter == "." else "timeout",
            instance="i1" if letter == "." else "",
            datacenter="fra" if letter == "." else "",
        )
        for index, letter in enumerate(pattern)
    )
    return ProbeRun(
        started_at_s=T0, duration_ms=round(len(pattern) * interval_s * 1000), samples=samples
    )


@pytest.mark.parametrize(
    ("pattern", "gap_ms"),
    [
        ("..........", 0),
        ("....x.....", 200),
        ("..xxx.x...", 400),
        ("xx........", 200),
        ("......xxxx", 500),
        ("xxxxxxxxxx", 1000),
        ("xxxx.xxxxx", 600),
    ],
)
def test_the_gap_spans_from_success_to_success(pattern: str, gap_ms: float) -> None:
    report = summarize(made(pattern), None)
    assert report.gap_max_ms == gap_ms
    assert report.lost == pattern.count("x")


@pytest.mark.parametrize(
    ("pattern", "after_s"),
    [
        ("..........", 0),
        ("....xx....", 0.2),
        ("....x.x...", 0.3),
        ("xx........", 0),
        ("....xxxxxx", None),
        ("....xxxxx", None),
        ("....", None),
    ],
)
def test_when_losses_end_after_the_fault(pattern: str, after_s: float | None) -> None:
    report = summarize(made(pattern), T0 + 0.4)
    assert report.lossless_after_s == after_s


def test_losses_end_only_when_every_address_answers_again() -> None:
    pattern = "....x.x.x."  # every second request goes to IPv4, which stays dead
    report = summarize(made(pattern, addresses=(IPV4, IPV6)), T0 + 0.4)
    assert report.lossless_after_s is None
    assert report.gap_max_ms_by_family == {"ipv4": 800, "ipv6": 0}


def test_who_answered_is_split_at_the_fault() -> None:
    run = made("......")
    moved = [
        dataclasses.replace(sample, datacenter="ams", instance="i2") for sample in run.samples
    ]
    run = dataclasses.replace(run, samples=(*run.samples[:3], *moved[3:]))
    report = summarize(run, T0 + 0.3)
    assert report.answered_by == {"before": {"fra": {"i1": 3}}, "after": {"ams": {"i2": 3}}}


def test_percentiles_are_of_the_successes() -> None:
    report = summarize(made("." * 100), None)
    assert report.latency_ms == {"p50": 49, "p99": 98}
    assert report.lateness_ms_p99 == 0.1


def test_a_run_without_samples_does_not_look_good() -> None:
    report = summarize(ProbeRun(started_at_s=T0, duration_ms=700, samples=()), T0)
    assert (report.sent, report.gap_max_ms) == (0, 700)
    assert report.lossless_after_s is None
    assert report.lateness_ms_p99 is None


PATTERNS = st.text(alphabet=".x", min_size=1, max_size=40)
ADDRESSES = st.sampled_from([(IPV4,), (IPV6,), (IPV4, IPV6), (IPV6, IPV4, "127.0.0.2")])


@given(pattern=PATTERNS, addresses=ADDRESSES)
def test_a_gap_is_seen_exactly_when_something_is_lost(
    pattern: str, addresses: tuple[str, ...]
) -> None:
    run = made(pattern, addresses=addresses)
    report = summarize(run, None)
    assert (report.gap_max_ms > 0) == ("x" in pattern)
    assert report.gap_max_ms <= run.duration_ms
    assert report.gap_max_ms == max(report.gap_max_ms_by_family.values())
    assert report.lost == sum(report.errors.values()) == pattern.count("x")
    dead = any(set(pattern[i :: len(addresses)]) == {"x"} for i in range(len(addresses)))
    assert not dead or report.gap_max_ms == run.duration_ms


@given(pattern=PATTERNS, addresses=ADDRESSES, data=st.data())
def test_one_more_loss_never_looks_better(
    pattern: str, addresses: tuple[str, ...], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(pattern) - 1))
    fault = T0 + data.draw(st.integers(0, len(pattern))) / 10
    worse = pattern[:index] + "x" + pattern[index + 1 :]
    before = summarize(made(pattern, addresses=addresses), fault)
    after = summarize(made(worse, addresses=addresses), fault)
    assert after.gap_max_ms >= before.gap_max_ms
    assert after.lost >= before.lost
    if before.lossless_after_s is None:
        assert after.lossless_after_s is None
    elif after.lossless_after_s is not None:
        assert after.lossless_after_s >= before.lossless_after_s


@given(pattern=PATTERNS)
def test_reports_and_runs_are_json(pattern: str) -> None:
    run = made(pattern)
    assert decode(ProbeRun, prober.encode_run(run)) == run
    report = summarize(run, T0 + 0.5)
    assert json.loads(json.dumps(dataclasses.asdict(report)))["lost"] == report.lost
