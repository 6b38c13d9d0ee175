"""Measuring a service: the real prober on loopback, the lab a stand-in that breaks nothing."""

import http.server
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import cast

import pytest

from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.lab.client.client import LabClient
from pltfrms.lab.client.probing import (
    Measurement,
    PlannedFault,
    find_service,
    probe_service,
    probed,
    service_port,
)
from pltfrms.model.services.service import Probe, ProbeKind, Run, Service, ServiceSpec
from tests.cli.world import HEALTHY, WEB

SHORT = Measurement(client="here", rate=50, duration_ms=400, timeout_ms=300)


class Answering(http.server.BaseHTTPRequestHandler):
    """Says who it is, as a service would."""

    def do_GET(self) -> None:
        body = json.dumps({"instance": "web.fra.1-1", "datacenter": "fra"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class HereLab:
    """Its only machine is the host itself."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str, int | None]] = []

    def exec_argv(self, _machine: str, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def fault(self, target: str, kind: str, for_ms: int | None) -> tuple[str, ...]:
        if target == "none":
            raise NotFoundError("the lab has no 'none'")
        self.faults.append((target, kind, for_ms))
        return ()


class BrokenLab(HereLab):
    """Nothing can be run on its machines."""

    def exec_argv(self, _machine: str, _argv: Sequence[str]) -> list[str]:
        return ["sh", "-c", "echo no such namespace >&2; exit 1"]


def service(port: int) -> Service:
    return Service(
        spec=ServiceSpec(
            name="web",
            run=Run(process=("true",)),
            probe=Probe(kind=ProbeKind.HTTP, port=port),
            per_datacenter=1,
        ),
        id=1,
        version=1,
        prefix4=IPv4Network("127.0.0.1/32"),
        prefix6=IPv6Network("::1/128"),
    )


def test_report_tells_before_from_after_the_fault(port: int) -> None:
    lab = HereLab()
    fault = PlannedFault(target="edge/e1", kind="cut", at_ms=200, for_ms=50)
    wanted = replace(SHORT, fault=fault)
    report = probe_service(cast("LabClient", lab), service(port), wanted)
    assert lab.faults == [("edge/e1", "cut", 50)]
    assert report.sent == 20
    # Nobody listens on ::1: half of the requests are refused.
    assert (report.lost, report.errors) == (10, {"refused": 10})
    assert report.gap_max_ms_by_family["ipv4"] == 0
    counts = {when: by.get("fra", {}) for when, by in report.answered_by.items()}
    assert set(counts["before"]) == set(counts["after"]) == {"web.fra.1-1"}


def test_without_fault_all_is_before(port: int) -> None:
    report = probe_service(cast("LabClient", HereLab()), service(port), SHORT)
    assert report.answered_by["after"] == {}
    assert report.lossless_after_s is None


@pytest.mark.parametrize(
    ("lab", "fault", "error"),
    [
        (HereLab(), PlannedFault(target="none", at_ms=0), NotFoundError),
        (HereLab(), PlannedFault(target="edge/e1", at_ms=400), UsageError),
        (BrokenLab(), None, UnavailableError),
    ],
)
def test_what_cannot_be_measured_is_said(
    lab: HereLab, fault: PlannedFault | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        probe_service(cast("LabClient", lab), service(1), replace(SHORT, fault=fault))


@pytest.mark.parametrize(
    ("rate", "duration_ms"),
    [(200, 0), (1, 999), (200, 10**9), (float("nan"), 1000), (-1, -9000)],
)
def test_a_schedule_that_cannot_be_kept_is_refused_before_anything_starts(
    rate: float, duration_ms: int
) -> None:
    wanted = replace(SHORT, rate=rate, duration_ms=duration_ms)
    with pytest.raises(UsageError, match="requests per second"):
        probe_service(cast("LabClient", BrokenLab()), service(1), wanted)


def test_port_of_a_service() -> None:
    web = service(80)
    assert service_port(web) == 80
    silent = replace(web.spec, probe=Probe(kind=ProbeKind.EXEC), ports=("53/udp", "53/tcp"))
    assert service_port(replace(web, spec=silent)) == 53
    with pytest.raises(UsageError, match="no TCP port"):
        service_port(replace(web, spec=replace(silent, ports=("53/udp",))))


def test_find_service_names_the_known() -> None:

    assert find_service(HEALTHY.services, "web") == WEB
    with pytest.raises(NotFoundError, match="web"):
        find_service(HEALTHY.services, "wob")


def test_a_load_ends_with_its_block_and_its_report_is_of_that_time(port: int) -> None:
    long = replace(SHORT, duration_ms=600_000)
    began = time.monotonic()
    with probed(cast(LabClient, HereLab()), service(port), long) as asked:
        time.sleep(0.5)
    report, seconds = asked(), time.monotonic() - began
    assert 1 <= report.sent <= long.rate * seconds + 1
    refused = report.errors.get("refused", 0)  # nobody listens on ::1
    assert report.lost == refused == report.sent // 2
    assert report.gap_max_ms <= seconds * 1000, "of what was measured, not of what could be"


def test_a_load_that_ends_before_its_block_proves_nothing(port: int) -> None:
    short = replace(SHORT, duration_ms=100)
    with (
        pytest.raises(UnavailableError, match="ended by itself after 100 ms"),
        probed(cast(LabClient, HereLab()), service(port), short),
    ):
        time.sleep(0.5)


def test_a_load_whose_block_fails_leaves_no_prober(port: int) -> None:
    lab = cast(LabClient, HereLab())
    long = replace(SHORT, duration_ms=600_000)
    with pytest.raises(ZeroDivisionError), probed(lab, service(port), long):
        raise ZeroDivisionError
    with (
        pytest.raises(UnavailableError, match="no such namespace"),
        probed(cast(LabClient, BrokenLab()), service(port), long),
    ):
        pass
