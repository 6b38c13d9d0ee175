"""Variables of other services: known when a spec is applied, and its own from then on."""

from dataclasses import replace

import pytest

from pltfrms.errors import UsageError
from pltfrms.model.addresses import Address
from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import Aggregate
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.service import PortClients, ServiceSpec
from pltfrms.planner.changes.change import apply_change, delete_service
from pltfrms.planner.instances.instances import instance_spec
from tests.strategies import make_allocation, make_platform, make_snapshot, make_spec

EMPTY = make_snapshot(make_platform({"fra": 1}))
API = make_spec("api")


def asks(name: str, *variables: str, **said: object) -> ServiceSpec:
    """Return a service that is told of others in its environment."""
    spec = make_spec(name)
    told = tuple((f"V{n}", f"${{pltfrms.{each}}}") for n, each in enumerate(variables))
    return replace(spec, run=replace(spec.run, environment=told, **said))  # type: ignore[arg-type]


def after(snapshot: Snapshot, *specs: ServiceSpec) -> Snapshot:
    return apply_change(snapshot, Change(services=specs)).snapshot


def told(snapshot: Snapshot, name: str) -> list[str]:
    """Return what an instance finds in its environment."""
    allocation = make_allocation(f"{name}.fra.1-1", "fra-n1")
    spec = instance_spec(snapshot.platform, snapshot.services[name], allocation)
    return [value for _, value in spec.environment]


def refused(snapshot: Snapshot, *specs: ServiceSpec) -> str:
    with pytest.raises(UsageError) as caught:
        after(snapshot, *specs)
    return str(caught.value)


def test_an_instance_is_told_where_another_service_answers() -> None:
    fields = ("address6", "address4", "prefix6", "prefix4")
    web = asks("web", *(f"service.api.{field}" for field in fields), "service")
    assert told(after(after(EMPTY, API), web), "web") == [
        "2001:db8:100::1",
        "198.51.100.1",
        "2001:db8:100::1/128",
        "198.51.100.1/32",
        "web",
    ]


def test_the_order_of_files_does_not_matter() -> None:
    chain = (asks("a", "service.b.address4"), asks("b", "service.c.address4"), make_spec("c"))
    for specs in (chain, chain[::-1]):
        snapshot = after(EMPTY, *specs)
        where = {name: str(each.prefix4)[:-3] for name, each in snapshot.services.items()}
        assert told(snapshot, "a") == [where["b"]]
        assert told(snapshot, "b") == [where["c"]]


def test_who_moves_changes_nobody_until_that_one_is_applied_again() -> None:
    web = asks("web", "service.api.address4")
    first = after(EMPTY, API, web)
    old: list[Address] = [each.network_address for each in first.services["api"].prefixes]
    addresses = (*(each + 9 for each in old), *old)
    moved = after(first, replace(API, addresses=addresses))
    assert told(moved, "web") == ["198.51.100.1"]
    assert moved.services["web"] == first.services["web"]
    again = after(moved, web)
    assert told(again, "web") == ["198.51.100.10"]
    assert again.services["web"].version == first.services["web"].version + 1
    assert apply_change(again, Change(services=(web,))).lines == ()


def test_who_is_deleted_is_still_known_to_what_runs_and_to_nothing_new() -> None:
    web = asks("web", "service.api.address4")
    without = delete_service(after(EMPTY, API, web), "api").snapshot
    assert told(without, "web") == ["198.51.100.1"]
    assert "there is no service api" in refused(without, web)


def test_all_that_stands_for_nothing_is_said() -> None:
    web = asks("web", "service.db.address6", "service.api.address6", "service.a.b")
    only4 = replace(EMPTY, platform=replace(EMPTY.platform, aggregates=_only4()))
    assert refused(after(only4, API), web).splitlines() == [
        "service web: run: ${pltfrms.service.a.b} has no value: there is no such variable",
        (
            "service web: run: ${pltfrms.service.api.address6} has no value: "
            "service api has no IPv6"
        ),
        "service web: run: ${pltfrms.service.db.address6} has no value: there is no service db",
    ]


def test_who_is_pruned_by_the_same_change_is_not_there() -> None:
    web, api = (
        replace(each, group="shop") for each in (asks("web", "service.api.prefix4"), API)
    )
    snapshot = after(EMPTY, api)
    change = Change(services=(web,), prune=("group", "shop"))
    with pytest.raises(UsageError, match="there is no service api"):
        apply_change(snapshot, change)


def test_circles_are_refused_also_through_what_is_there() -> None:
    one, two = asks("one", "service.two.address6"), asks("two", "service.one.address6")
    assert "service one: run: one names two names one: of" in refused(EMPTY, one, two)
    three = (asks("a", "service.b.prefix4"), asks("b", "service.c.prefix4"))
    assert "a names b names c names a:" in refused(
        EMPTY, *three, asks("c", "service.a.prefix4")
    )
    there = after(EMPTY, make_spec("two"), one)
    assert refused(there, two) == (
        "service two: run: two names one names two: of these, one must do without the other"
    )
    assert "me names me" in refused(EMPTY, asks("me", "service.me.address6"))


def test_nobody_says_in_a_change_what_a_variable_stands_for() -> None:
    web = asks("web", "service.api.address4", found=(("service.api.address4", "192.0.2.66"),))
    assert told(after(EMPTY, API, web), "web") == ["198.51.100.1"]
    plain = asks("plain", found=(("address4", "192.0.2.66"),))
    assert after(EMPTY, plain).services["plain"].spec.run.found == ()


def limits(name: str, *clients: str) -> ServiceSpec:
    """Return a service on whose port only these may ask."""
    said = (PortClients(port="80/tcp", clients=clients),)
    return replace(make_spec(name), ports=("80/tcp",), clients=said)


def test_clients_are_services_that_there_are_in_any_order_and_in_circles() -> None:
    api, web = limits("api", "service:web", "internet"), limits("web", "service:api")
    assert after(EMPTY, api, web).services["api"].spec.clients == api.clients
    assert refused(EMPTY, api) == (
        "service api: ports: service:web is no client: there is no such service"
    )


def test_what_others_start_asks_as_its_machine_and_is_no_client() -> None:
    api = make_spec("api")
    adopted = replace(api, run=replace(api.run, process=(), adopted=Adopted()))
    why = "others start it, and it asks from addresses of its machines: say those"
    assert refused(after(EMPTY, adopted), limits("web", "service:api")) == (
        f"service web: ports: service:api is no client: {why}"
    )


def test_other_clients_are_no_other_version() -> None:
    before = after(EMPTY, limits("api", "internet"))
    outcome = apply_change(before, Change(services=(limits("api", "10.0.0.0/8"),)))
    assert outcome.services[0].version == before.services["api"].version
    assert [line.detail for line in outcome.lines] == ["clients"]


def _only4() -> tuple[Aggregate, ...]:
    return tuple(each for each in EMPTY.platform.aggregates if each.prefix.version == 4)
