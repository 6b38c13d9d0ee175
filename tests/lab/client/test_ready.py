"""Whom a lab asks before it says that all is ready."""

import pytest

from pltfrms.lab.client.ready import _speaks_http
from pltfrms.model.services.probes import ProbeDns, ProbeTls
from pltfrms.model.services.service import Probe, ProbeKind


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
