"""The fingerprint of a version, which commands and controllers of two releases compare."""

from dataclasses import replace

import pytest

from pltfrms.model.services.container import Container
from pltfrms.model.services.probes import ProbeTls
from pltfrms.model.services.service import Probe, ProbeKind, Run, ServiceSpec
from pltfrms.planner.changes.rolling import digest_of

RUN = Run(process=("web", "--port", "80"), files=(("a", "b"),), cpu=0.5)
PROBE = Probe(kind=ProbeKind.HTTP, port=80, path="/healthz", fall=3)
SPEC = ServiceSpec(name="web", run=RUN, probe=PROBE, per_datacenter=2)
OF_THE_RELEASE_BEFORE = "b1f66df24cd801b757c32b24"
"""As it wrote that of `SPEC`, before there were containers and more kinds of probes."""


def test_it_is_that_of_the_release_before_where_nothing_new_is_said() -> None:
    assert digest_of(SPEC) == OF_THE_RELEASE_BEFORE


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, run=replace(RUN, container=Container(image="i"))),
        replace(SPEC, probe=replace(PROBE, grace_max_ms=60_000)),
        replace(SPEC, probe=replace(PROBE, tls=ProbeTls())),
        replace(SPEC, probe=replace(PROBE, only_announces=True)),
        replace(SPEC, liveness=PROBE),
    ],
)
def test_whatever_is_said_makes_it_another_one(spec: ServiceSpec) -> None:
    assert digest_of(spec) != OF_THE_RELEASE_BEFORE
