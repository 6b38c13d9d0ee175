"""What an instance is started from, and which versions of services a node remembers."""

from dataclasses import replace
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.errors import UsageError
from pltfrms.model.running.plan import Target
from pltfrms.model.services.service import Run
from pltfrms.planner.instances.instances import instance_spec, service_versions
from tests.strategies import make_allocation, make_platform, make_service, make_spec

PLATFORM = make_platform({"fra": 2})
WEB = make_service(make_spec(), number=7)
ALLOCATION = make_allocation("web.fra.1-3", "fra-n2", slot=9)
_NAMES = [
    "instance",
    "service",
    "datacenter",
    "node",
    "replica",
    "prefix4",
    "prefix6",
    "address4",
    "address6",
]


def _running(run: Run) -> tuple[str, ...]:
    service = replace(WEB, spec=replace(WEB.spec, run=run))
    spec = instance_spec(PLATFORM, service, ALLOCATION)
    return (*spec.process, *(text for pair in spec.files + spec.environment for text in pair))


def test_an_instance_has_its_own_addresses_and_those_of_the_service() -> None:
    spec = instance_spec(PLATFORM, WEB, ALLOCATION)
    assert spec.device == "i9"
    assert spec.service_addresses == (
        ip_interface("198.51.100.7/32"),
        ip_interface("2001:db8:100::7/128"),
    )
    assert spec.unicast_addresses == (
        ip_interface("10.1.2.9/32"),
        ip_interface("fd00:0:1:1001:2:7:0:9/128"),
    )


def test_variables_become_what_they_name_everywhere() -> None:
    every = " ".join(f"${{pltfrms.{name}}}" for name in _NAMES)
    run = Run(process=("serve", every), files=(("f", every),), environment=(("E", every),))
    words = (
        "web.fra.1-3 web fra fra-n2 1 198.51.100.7/32 2001:db8:100::7/128"
        " 10.1.2.9 fd00:0:1:1001:2:7:0:9"
    )
    assert _running(run) == ("serve", words, "f", words, "E", words)


def test_an_unknown_variable_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UsageError, match=r"\$\{pltfrms\.nodes\}.*address4.*service"):
        _running(Run(process=("${pltfrms.nodes}",)))


@given(st.text(alphabet="ab${}.plfrms \n"))
def test_other_text_stays_as_it_is(text: str) -> None:
    if "${pltfrms." not in text:
        assert _running(Run(process=(text,))) == (text,)


def test_the_version_that_still_runs_here_is_remembered() -> None:
    newer = replace(WEB, version=2)
    fresh = make_allocation("web.fra.2-1", "fra-n2", slot=2, version=2)
    target = Target(
        machine="fra-n2",
        generation=8,
        platform=PLATFORM,
        services=(newer,),
        allocations=(ALLOCATION, fresh),
    )
    assert service_versions(target, (WEB,)) == (WEB, newer)
    assert service_versions(target, ()) == (newer,)
    assert service_versions(replace(target, allocations=(fresh,)), (WEB,)) == (newer,)


def test_without_ipv4_an_instance_has_that_of_the_service_alone() -> None:
    platform = replace(PLATFORM, infrastructure4=None)
    spec = instance_spec(platform, WEB, ALLOCATION)
    assert spec.service_addresses[0] == ip_interface("198.51.100.7/32")
    assert spec.unicast_addresses == (ip_interface("fd00:0:1:1001:2:7:0:9/128"),)
