"""Who may ask what of a controller: a table of attacks, and what holds for all of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.identity.words import (
    JoinToken,
    MachineKey,
    ShownCertificate,
    authority_name,
    joins_of,
    machine_of,
    machine_uri,
    serial_of,
)
from pltfrms.model.network.topology import Machine, Role
from pltfrms.planner.identity import roles
from pltfrms.planner.identity.access import decide_access, may_look, why_unsigned
from pltfrms.planner.identity.roles import Need
from tests.strategies import make_platform

PLATFORM = make_platform({"fra": 2, "ams": 2})
KEYS = {
    each.name: MachineKey(
        machine=each.name, joins=3, public_key="BEGIN\nof \nit\nEND\n", at_ms=1
    )
    for each in PLATFORM.managed
}
SIGNER = authority_name("ams-c1")
NODE, OTHER, CONTROLLER = "fra-n1", "fra-n2", "fra-c1"
OWN = [
    ("POST", "/v1/heartbeats"),
    ("POST", "/v1/leases"),
    ("POST", "/v1/identity/renewal"),
    ("POST", "/v1/identity/leave"),
    ("POST", "/v1/vantage/reports"),
]
OPEN = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/v1/identity/roots"),
    ("POST", "/v1/identity/join"),
    ("POST", "/v1/identity/nonce"),
    ("POST", "/v1/identity/return"),
]
EVERYTHING = [
    ("GET", "/v1/snapshot"),
    ("POST", "/v1/plan"),
    ("POST", "/v1/apply"),
    ("DELETE", "/v1/services/web"),
    ("POST", "/v1/interventions"),
    ("GET", "/v1/events"),
    ("GET", "/metrics"),
    ("GET", "/v1/prometheus/targets"),
    ("GET", "/openapi.json"),
    ("POST", "/v1/requests"),
    ("POST", "/v1/identity/tokens"),
    ("GET", "/v1/identity/store"),
    ("GET", "/v1/identity/secrets"),
    ("GET", "/v1/secrets"),
    ("POST", "/v1/secrets"),
    ("DELETE", "/v1/secrets/db"),
    ("POST", "/v1/secrets-key"),
    ("GET", f"/v1/targets/{OTHER}"),
    ("GET", f"/v1/targets/{NODE}/"),
    ("GET", f"/v1/targets/../targets/{NODE}"),
    ("GET", "/v1/targets/"),
    ("POST", f"/v1/targets/{NODE}"),
    ("GET", "/v1/heartbeats"),
    ("GET", "/v1/routes/fra-e1"),
    ("GET", "/v1/balancers"),
    ("GET", "/v1/vantage"),
    ("POST", "/v1/vantage/tokens"),
]


def shown(machine: str, joins: int = 3, platform: str = PLATFORM.name) -> ShownCertificate:
    return certificate(machine_uri(platform, machine), joins=joins)


def certificate(
    *uris: str, joins: int = 3, issuer: str = SIGNER, key: str = "of it"
) -> ShownCertificate:
    serial = serial_of(joins, 7)
    return ShownCertificate(uris=uris, serial=serial, issuer=issuer, public_key=key)


def refusal(method: str, path: str, who: ShownCertificate | None) -> str:
    return decide_access(method, path, who, PLATFORM, KEYS).refusal


@pytest.mark.parametrize(("method", "path"), [*EVERYTHING, *OWN])
def test_who_shows_nothing_gets_nothing(method: str, path: str) -> None:
    assert "shows no certificate" in refusal(method, path, None)


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_a_machine_that_has_nothing_yet_can_join_and_come_back(method: str, path: str) -> None:
    assert not refusal(method, path, None)


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_a_stolen_certificate_of_a_node_opens_nothing_but_its_own(
    method: str, path: str
) -> None:
    assert "its own target" in refusal(method, path, shown(NODE))


def test_every_route_of_machines_is_let_in_that_controllers_do_not_ask_each_other() -> None:
    needs = {Need.MACHINE, Need.VANTAGE}
    of_machines = {route for route, need in roles._NEEDS.items() if need in needs}
    among_controllers = {("GET", "/v1/identity/store"), ("GET", "/v1/identity/secrets")}
    assert of_machines - among_controllers == {*OWN, ("GET", "/v1/targets/{machine}")}


@pytest.mark.parametrize(("method", "path"), [*OWN, ("GET", f"/v1/targets/{NODE}")])
def test_a_machine_gets_what_is_its_own_and_is_known_by_name(method: str, path: str) -> None:
    access = decide_access(method, path, shown(NODE), PLATFORM, KEYS)
    assert (access.machine, access.refusal) == (NODE, "")


@pytest.mark.parametrize(("method", "path"), [*EVERYTHING, *OWN])
def test_a_controller_may_ask_everything(method: str, path: str) -> None:
    access = decide_access(method, path, shown(CONTROLLER), PLATFORM, KEYS)
    assert (access.machine, access.refusal) == ("", "")


ATTACKS = {
    "of another platform": (shown(NODE, platform="other"), "of no machine of"),
    "of two machines": (
        certificate(machine_uri(PLATFORM.name, NODE), machine_uri(PLATFORM.name, CONTROLLER)),
        "of no machine of",
    ),
    "of nobody": (certificate(), "of no machine of"),
    "of an operator": (
        certificate(f"pltfrms://{PLATFORM.name}/operator/ada"),
        "of no machine of",
    ),
    "of a machine that was removed": (shown("fra-n9"), "no machine fra-n9 any more"),
    "made before it joined again": (shown(NODE, joins=2), "has joined again"),
    "of a join that was never": (shown(NODE, joins=4), "has joined again"),
    "of a node, for another key": (
        certificate(machine_uri(PLATFORM.name, NODE), key="of whoever has an authority"),
        "with another key",
    ),
    "of a controller, for another key": (
        certificate(machine_uri(PLATFORM.name, CONTROLLER), key="of somebody"),
        "with another key",
    ),
    "of a key that nobody can read": (
        certificate(machine_uri(PLATFORM.name, NODE), key=""),
        "with another key",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(("method", "path"), [*EVERYTHING, *OWN])
def test_no_other_certificate_opens_anything(name: str, method: str, path: str) -> None:
    who, why = ATTACKS[name]
    assert why in refusal(method, path, who)


def test_a_machine_that_comes_back_into_the_platform_must_join_again() -> None:
    void = {NODE: replace(KEYS[NODE], public_key="")}
    for keys in ({}, void):
        access = decide_access("POST", "/v1/heartbeats", shown(NODE), PLATFORM, keys)
        assert "has not joined" in access.refusal


def test_what_a_machine_is_stands_in_the_platform_alone() -> None:
    def without(machine: Machine) -> Machine:
        return replace(machine, role=Role.NODE) if machine.name == CONTROLLER else machine

    demoted = replace(PLATFORM, machines=tuple(map(without, PLATFORM.machines)))
    access = decide_access("GET", "/v1/snapshot", shown(CONTROLLER), demoted, KEYS)
    assert "its own target" in access.refusal
    assert not may_look(shown(CONTROLLER), demoted)


def test_an_edge_that_others_manage_is_no_machine_of_ours() -> None:
    external = replace(
        PLATFORM,
        machines=tuple(
            replace(each, external=each.has(Role.EDGE)) for each in PLATFORM.machines
        ),
    )
    access = decide_access("POST", "/v1/heartbeats", shown("fra-e1"), external, KEYS)
    assert "no machine fra-e1" in access.refusal


def test_controllers_look_into_machines_and_machines_do_not() -> None:
    assert may_look(shown(CONTROLLER), PLATFORM)
    for who in (None, shown(NODE), shown(CONTROLLER, platform="other"), shown("fra-c9")):
        assert not may_look(who, PLATFORM)


GONE = ["fra-c9 authority", f"{NODE} authority", "example root", "fra-c1", " authority", ""]


@pytest.mark.parametrize("issuer", GONE)
def test_an_authority_of_no_controller_of_the_platform_signs_nothing(issuer: str) -> None:
    uri = machine_uri(PLATFORM.name, CONTROLLER)
    assert "of no controller" in why_unsigned(issuer, PLATFORM)
    assert not may_look(certificate(uri, issuer=issuer), PLATFORM)
    assert not why_unsigned(SIGNER, PLATFORM)
    assert may_look(certificate(uri), PLATFORM)


def test_a_machine_whose_signer_left_the_platform_is_still_known_by_its_key() -> None:
    """Else to remove a controller would shut out each machine that it had signed."""
    who = certificate(machine_uri(PLATFORM.name, NODE), issuer="fra-c9 authority")
    assert not refusal("POST", "/v1/heartbeats", who)


@given(
    st.sampled_from([each.name for each in PLATFORM.managed if not each.has(Role.CONTROLLER)]),
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]),
    st.text(st.characters(codec="ascii"), max_size=40),
)
def test_no_path_gives_a_machine_more_than_its_own(name: str, method: str, path: str) -> None:
    own = {*OWN, *OPEN, ("GET", f"/v1/targets/{name}")}
    for asked in (path, f"/v1/targets/{path}", f"/v1/targets/{name}{path}"):
        access = decide_access(method, asked, shown(name), PLATFORM, KEYS)
        assert bool(access.refusal) == ((method, asked) not in own)


@given(st.integers(1, 2**31), st.integers(0, 2**64 - 1))
def test_a_serial_number_says_how_often_the_machine_has_joined(joins: int, random: int) -> None:
    serial = serial_of(joins, random)
    assert joins_of(serial) == joins
    assert 0 < serial < 2**159


@given(st.text(min_size=1, max_size=60))
def test_only_a_whole_name_names_a_machine(text: str) -> None:
    name = machine_uri("example", "fra-n1")
    for uri in (f"{name}/{text}", f"{name}\n{text}", f"{text} {name}", f"x{text}{name}", text):
        assert machine_of(uri, "example") == ""


@pytest.mark.parametrize("name", ["fra-n1", "Node-7.rack3.fra.example.net", "1u", "a" * 40])
def test_a_token_is_read_as_it_was_written(name: str) -> None:
    token = JoinToken(machine=name, secret="0a" * 16, pin="f" * 64)
    assert JoinToken.of(f" {token.text}\n") == token


@pytest.mark.parametrize("name", ["fra-n1", "Node-7.rack3.fra.example.net", "1u", "a" * 40])
def test_machines_are_called_as_their_hosts_are(name: str) -> None:
    assert machine_of(machine_uri("example", name), "example") == name
