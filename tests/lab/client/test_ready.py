"""Whom a lab asks before it says that all is ready."""

import pytest

from pltfrms.lab.client.ready import _missing, _speaks_http
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.probes import ProbeDns, ProbeTls
from pltfrms.model.services.service import Probe, ProbeKind
from tests.strategies import make_platform


@pytest.mark.parametrize(
    ("probe", "asked"),
    [
        (Probe(kind=ProbeKind.HTTP, port=80), True),
        (Probe(kind=ProbeKind.TCP, port=80), True),
        (Probe(kind=ProbeKind.TCP, port=443, tls=ProbeTls()), False),
        (Probe(kind=ProbeKind.GRPC, port=50051), False),
        (Probe(kind=ProbeKind.DNS, port=53, dns=ProbeDns(name="a.example")), False),
        (Probe(kind=ProbeKind.EXEC, command=("true",)), False),
    ],
)
def test_only_who_may_answer_plain_http_is_asked_by_it(probe: Probe, *, asked: bool) -> None:
    assert _speaks_http(probe) is asked


def test_a_controller_that_has_not_seen_the_services_does_not_say_that_all_is_ready() -> None:
    empty = make_platform({}, others=False)
    behind = Snapshot(revision=6, platform=empty)
    assert "has not seen the services yet" in _missing(behind, 7)
    assert _missing(behind, 6) == ""
    assert _missing(None, 6) == "no controller answers"
