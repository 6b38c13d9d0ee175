"""`balancer show` and `balancer explain`, against machines that are imagined."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address
from typing import Any

import pytest

from pltfrms.cli.network.balancer import check_balances
from pltfrms.cli.shared import connect as connecting
from pltfrms.cli.shared.values import read_endpoint
from pltfrms.codec import decode
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.model.messages.glass import BalancerAnswers
from pltfrms.model.running.balancer import (
    BalancedService,
    BalancerMode,
    BalancerView,
    Candidate,
    CandidateState,
    Hook,
    HookKind,
    InstanceCounts,
    ServiceCounts,
    TableView,
)
from pltfrms.planner.balancing.rendezvous import make_table, row_of, shares
from tests.cli.conftest import Run
from tests.cli.world import ALLOCATIONS, HEALTHY, PLATFORM, WEB, FakeController
from tests.render.roles import THREE
from tests.strategies import make_platform, make_snapshot

SERVICE = BalancedService(id=1, name="web", prefix4=WEB.prefix4, prefix6=WEB.prefix6)
GONE = PLATFORM.instance6(PLATFORM.machine("fra-n3"), 1, 9)
"""It drains, and nobody has recorded it any more."""


def candidates(datacenter: str = "fra") -> tuple[Candidate, ...]:
    own = (
        Candidate(address=PLATFORM.instance6(PLATFORM.machine(each.node), 1, each.slot))
        for each in ALLOCATIONS.values()
        if each.datacenter == datacenter
    )
    gone = Candidate(address=GONE, state=CandidateState.DRAINING)
    return tuple(sorted((*own, gone) if datacenter == "fra" else own))


def view(machine: str, datacenter: str = "fra") -> BalancerView:
    some = candidates(datacenter)
    table, _ = make_table(SERVICE, some)
    return BalancerView(
        machine=machine,
        mode=BalancerMode.DIRECTOR,
        detail="TCX",
        heartbeat_age_ms=420,
        devices=(Hook(device="fab-a", kind=HookKind.INSIDE),),
        tables=(
            TableView(
                service=SERVICE,
                candidates=some,
                shares=shares(table),
                counts=ServiceCounts(packets=900, new_flows=70, no_instance=5),
                instance_counts=tuple(
                    InstanceCounts(packets=300, second_chances=2) for _ in some
                ),
            ),
        ),
        totals={"stale": 4, "forged": 7, "ttl": 0},
    )


KERNEL = BalancerView(
    machine="ams-e1", mode=BalancerMode.KERNEL, detail="no TCX and no clsact here"
)


@dataclass
class BalancerController(FakeController):
    """A controller whose machines have balancers."""

    views: dict[str, BalancerView] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    rows: dict[int, tuple[IPv6Address, ...]] = field(default_factory=dict)
    """What kernels have that is not what the table says."""

    def get(self, path: str, parameters: Mapping[str, str], kind: type[Any]) -> Any:
        if kind is BalancerAnswers:
            return BalancerAnswers(balancers=tuple(self.views.values()), silent=self.silent)
        _, _, machine, *row = path.strip("/").split("/") + [""] * (path.count("/") < 3)
        if machine not in self.views:
            raise UnavailableError(f"no answer from {machine}")
        if row != ["row"]:
            return self.views[machine]
        (table,) = self.views[machine].tables
        number = int(parameters["row"])
        built, _ = make_table(table.service, table.candidates)
        return self.rows.get(number, row_of(built, number))


@pytest.fixture
def balancers(monkeypatch: pytest.MonkeyPatch) -> BalancerController:
    views = {each.machine: each for each in (view("fra-e1"), view("fra-n1"), KERNEL)}
    fake = BalancerController(snapshots=[HEALTHY], views=views)
    monkeypatch.setattr(connecting, "OperatorClient", lambda *_how: fake)
    monkeypatch.setattr(connecting, "running_labs", tuple)
    return fake


# ---- show ----------------------------------------------------------------------------------


def test_all_machines_in_a_line_each(run: Run, balancers: BalancerController) -> None:
    balancers.silent = {"lon-e1": "no answer within 3 s"}
    result = run("balancer", "show")
    assert result.code == 0
    edge, _, kernel = (line.split() for line in result.out.splitlines()[1:])
    assert edge == ["fra-e1", "director", "1", "3", "420", "ms", "ago", "900", "6", "9", "-"]
    assert kernel[:7] == ["ams-e1", "kernel", "0", "0", "-", "0", "0"]
    assert " ".join(kernel[8:]) == KERNEL.detail
    assert "lon-e1: no answer within 3 s" in result.err
    found = decode(BalancerAnswers, run("balancer", "show", "--json").out)
    assert found.balancers == tuple(balancers.views.values())
    balancers.views = {}
    assert run("balancer", "show").code == 5


@pytest.mark.usefixtures("balancers")
def test_one_machine_with_its_tables(run: Run) -> None:
    out = run("balancer", "show", "fra-e1").out
    assert out.startswith("fra-e1: director (TCX)\nheartbeat 420 ms ago\n")
    assert "fab-a (inside)" in out
    lines = [line.split() for line in out.splitlines()]
    first = next(line for line in lines if line[:1] == ["web.fra.1-1"])
    assert first[1:5] == ["fra-n1", str(candidates()[0].address), "active", "10"]
    assert first[6:] == ["300", "2"]
    gone = next(line for line in lines if str(GONE) in line)
    assert gone[:2] == ["-", "fra-n3"]
    assert gone[3:6] == ["draining", "10", "0.0%"]
    assert ["total", "900", "6"] in lines
    assert out.endswith("counters: stale 4, forged 7\n")
    assert decode(BalancerView, run("balancer", "show", "fra-n1", "--json").out).tables


@pytest.mark.usefixtures("balancers")
def test_one_service_of_all(run: Run) -> None:
    assert "web.fra.1-1" in run("balancer", "show", "fra-e1", "--service", "web").out
    assert run("balancer", "show", "--service", "none").code == 2
    assert run("balancer", "show", "lon-n1").code == 5


# ---- explain -------------------------------------------------------------------------------


def explanation(run: Run, *words: str) -> dict[str, Any]:
    (found,) = json.loads(run("balancer", "explain", *words, "--json").out)
    return dict(found)


@pytest.mark.usefixtures("balancers")
@pytest.mark.parametrize("client", ["203.0.113.7:40001", "[2001:db8::7]:40001"])
def test_who_gets_a_flow_and_why(run: Run, client: str) -> None:
    out = run("balancer", "explain", client, "web", "--from", "fra-e1").out.splitlines()
    address = "[2001:db8:100::1]:80" if "[" in client else "198.51.100.1:80"
    assert out[0] == f"fra-e1: tcp {client} -> web {address}"
    found = explanation(run, client, "web", "--from", "fra-e1")
    assert f"leads to row {found['row']} of 16384" in out[1]
    first, *others = found["chances"]
    label = first["label"]
    assert out[2].startswith(
        f"  {label['allocation']} on {label['node']} gets it: it is active"
    )
    assert [each["address"] for each in found["chances"]] == found["kernel"]
    assert str(GONE) in {each["address"] for each in others}
    assert f"goes on to {GONE} on fra-n3 (draining), then web.fra." in out[3]
    assert out[4] == "  the kernel has the same in this row"


def test_the_kernel_counts(run: Run, balancers: BalancerController) -> None:
    words = ("203.0.113.7:40001", "web", "--from", "fra-e1")
    balancers.rows = {explanation(run, *words)["row"]: (GONE,)}
    said = explanation(run, *words)["sentences"][-1]
    assert "something else in this row, and that counts" in said
    assert said.endswith(f"{GONE} on fra-n3")
    balancers.rows = dict.fromkeys(balancers.rows, ())
    assert explanation(run, *words)["sentences"][-1].endswith("nobody")


@pytest.mark.usefixtures("balancers")
def test_udp_has_one_chance(run: Run) -> None:
    words = ("203.0.113.7:40001", "web:53", "--from", "fra-e1", "--udp")
    assert any("only TCP shows" in each for each in explanation(run, *words)["sentences"])
    assert run("balancer", "explain", "203.0.113.7:40001", "web", "--udp").code == 2


def test_without_a_director_the_kernel_decides(run: Run, balancers: BalancerController) -> None:
    words = ("203.0.113.7:40001", "web", "--from")
    found = explanation(run, *words, "ams-e1")
    assert (found["row"], found["chances"], len(found["sentences"])) == (None, [], 1)
    assert "ams-e1 does not run the director (no TCX and no clsact here)" in str(found)
    fra = view("fra-e1")
    for other, says in (
        (replace(fra, mode=BalancerMode.STARTING), "has not started yet"),
        (replace(fra, heartbeat_age_ms=16_200), "no heartbeat for 16 s"),
        (replace(fra, heartbeat_age_ms=-1), "no heartbeat ever"),
        (replace(fra, tables=()), "no instance of web in fra is known to fra-e1"),
    ):
        balancers.views["fra-e1"] = other
        (sentence,) = explanation(run, *words, "fra-e1")["sentences"]
        assert says in sentence
        assert "kernel" in sentence


def test_one_edge_of_each_datacenter_is_asked(run: Run, balancers: BalancerController) -> None:
    balancers.views["fra-e2"] = view("fra-e2")
    del balancers.views["fra-e1"]
    result = run("balancer", "explain", "203.0.113.7:40001", "web")
    assert result.code == 0
    heads = [line.split(":")[0] for line in result.out.splitlines() if line[0] != " "]
    assert heads == ["fra-e2", "ams-e1"]
    assert "no answer from lon-e1; no answer from lon-e2" in result.err
    balancers.views = {}
    assert run("balancer", "explain", "203.0.113.7:40001", "web").code == 5


@pytest.mark.usefixtures("balancers")
@pytest.mark.parametrize(
    "words",
    [
        ("203.0.113.7", "web"),
        ("203.0.113.7:0", "web"),
        ("2001:db8::7:40001", "web"),
        ("[203.0.113.7]:1", "web"),
        ("203.0.113.7:1", "none"),
        ("203.0.113.7:1", "web:http"),
        ("203.0.113.7:1", "web:65536"),
    ],
)
def test_wrong_questions_are_refused(run: Run, words: tuple[str, str]) -> None:
    assert run("balancer", "explain", *words).code == 2


def test_endpoints() -> None:
    assert read_endpoint("192.0.2.1:443") == (ip_address("192.0.2.1"), 443)
    assert read_endpoint("[2001:db8::1]:65535") == (ip_address("2001:db8::1"), 65535)
    with pytest.raises(UsageError, match="such as"):
        read_endpoint("[::1]")


@pytest.mark.usefixtures("balancers")
@pytest.mark.parametrize(
    "words", [("show", "fra-c1"), ("explain", "203.0.113.7:1", "web", "--from", "fra-c1")]
)
def test_a_controller_has_no_balancer_that_could_be_starting(
    run: Run, words: tuple[str, ...]
) -> None:
    result = run("balancer", *words)
    assert result.code == 2
    assert "fra-c1 is a controller: only edges and nodes have a balancer" in result.err


def test_a_machine_that_is_a_controller_beside_other_roles_has_a_balancer() -> None:
    check_balances(make_snapshot(THREE), "fra1")
    with pytest.raises(NotFoundError, match="fra-c1 is a controller"):
        check_balances(make_snapshot(make_platform({"fra": 1})), "fra-c1")
