"""Who has a role, as a person and a monitoring system see it; not known is not nobody."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from pltfrms.api.metrics import role_metrics
from pltfrms.cli.shared.rows import show_services
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Contact, RoleState, RoleStatus, Snapshot
from pltfrms.model.services.roles import RolePrefixes
from pltfrms.model.services.service import Probe, ProbeKind, RoleSpec
from pltfrms.planner.placement.explain import explain_service
from pltfrms.seen.roles import RoleRow, role_lines, role_rows
from pltfrms.seen.summary import problem_lines, service_row
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)

PROBE = Probe(kind=ProbeKind.HTTP, port=8008, epoch="X-Epoch")
ROLES = (RoleSpec(name="writer", probe=PROBE),)
GIVEN = (
    RolePrefixes(name="reader", prefix4=IPv4Network("198.51.100.200/32")),
    RolePrefixes(name="writer", prefix4=IPv4Network("198.51.100.129/32")),
)
MADE = make_service(make_spec())
DB = replace(MADE, spec=replace(MADE.spec, roles=ROLES), roles=GIVEN)
ONE, TWO = (make_allocation(f"web.fra.{n}-1", f"fra-n{n}") for n in (1, 2))
NONE = RoleStatus(role="writer", state=RoleState.NONE, reason=Reason.ROLE_NOT_SAID)
HELD = RoleStatus(
    role="writer", state=RoleState.HELD, reason=Reason.ROLE_SAID, epoch=7, detail=""
)


def seen(
    *said: RoleStatus | None, contacts: tuple[Contact, Contact] = (Contact.PRESENT,) * 2
) -> Snapshot:
    """Return what controllers know when each of the two instances said this last."""
    platform = make_platform({"fra": 2, "ams": 1})
    snapshot = make_snapshot(platform, (DB,), (ONE, TWO))
    statuses = dict(snapshot.statuses)
    for allocation, each in zip((ONE, TWO), said, strict=True):
        status = statuses[allocation.node]
        (instance,) = status.instances
        instance = replace(instance, roles=(each,) if each else ())
        statuses[allocation.node] = replace(status, instances=(instance,))
    views = dict(snapshot.machines)
    for allocation, contact in zip((ONE, TWO), contacts, strict=True):
        views[allocation.node] = replace(views[allocation.node], contact=contact)
    return replace(snapshot, statuses=statuses, machines=views)


def row(snapshot: Snapshot) -> RoleRow:
    """Return the one that there is: what the spec has not is not shown."""
    (found,) = role_rows(snapshot, snapshot.services["web"])
    return found


def explained(snapshot: Snapshot) -> list[str]:
    return [each for each in explain_service(snapshot, "web") if "writer" in each]


def measured(snapshot: Snapshot) -> dict[str, list[float]]:
    return {
        each.name: [sample.value for sample in each.samples] for each in role_metrics(snapshot)
    }


def test_who_has_it_is_shown_with_his_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = seen(NONE, HELD)
    assert list(role_lines(snapshot)) == []
    show_services((service_row(snapshot, snapshot.services["web"]),))
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "writer" in each]
    assert line.split() == ["web", "writer", TWO.id, "7", "198.51.100.129/32"]
    assert explained(snapshot) == [
        "web: role writer is at 198.51.100.129/32.",
        f"{ONE.id}: {NONE.sentence}.",
        f"{TWO.id}: writer held, epoch 7: the instance says that it has the role.",
    ]
    assert measured(snapshot) == {"pltfrms_role_holders": [1], "pltfrms_role_epoch": [7]}


def test_that_nobody_has_it_is_a_problem() -> None:
    snapshot = seen(NONE, NONE)
    line = "web: nobody has its role writer, so its clients are refused"
    view = SnapshotView(controller="fra-c1", snapshot=snapshot, notes=())
    assert line in list(problem_lines(view, snapshot, 0))
    assert row(snapshot).who == "nobody"
    assert explained(snapshot)[0] == "web: role writer is at 198.51.100.129/32; nobody has it."
    assert measured(snapshot) == {"pltfrms_role_holders": [0], "pltfrms_role_epoch": []}


@pytest.mark.parametrize(
    "snapshot",
    [
        seen(NONE, None),  # its agent is of an older release, or has not asked yet
        seen(NONE, HELD, contacts=(Contact.PRESENT, Contact.LOST)),
        seen(NONE, NONE, contacts=(Contact.PRESENT, Contact.LOST)),
        seen(NONE, NONE, contacts=(Contact.PRESENT, Contact.UNKNOWN)),
    ],
)
def test_who_is_not_heard_of_may_have_it(snapshot: Snapshot) -> None:
    assert row(snapshot).who == "not known"
    assert row(snapshot).unheard == (TWO.id,)
    (line,) = role_lines(snapshot)
    assert line.startswith("web: whether anybody has its role writer is not known")
    assert TWO.id in line
    assert "nobody" not in explained(snapshot)[0]
    assert measured(snapshot) == {"pltfrms_role_holders": [], "pltfrms_role_epoch": []}


def test_who_has_it_is_enough_whoever_else_is_not_heard_of() -> None:
    snapshot = seen(HELD, None)
    assert row(snapshot).who == ONE.id
    assert list(role_lines(snapshot)) == []
    assert measured(snapshot)["pltfrms_role_holders"] == [1]
