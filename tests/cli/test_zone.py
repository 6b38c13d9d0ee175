"""`zone`: the DNS zones of all services."""

import json
from pathlib import Path

from tests.cli.conftest import Run
from tests.cli.world import FakeController

REVERSE = "100.51.198.in-addr.arpa"


def test_the_zone_of_the_domain_is_printed(run: Run, controller: FakeController) -> None:
    result = run("zone", "--ns", "ns1.example.net")
    assert result.code == 0
    assert result.out.startswith("$ORIGIN example.internal.\n")
    assert "web\tIN A 198.51.100.1\n" in result.out
    assert controller.asked.count("snapshot") == 1


def test_a_zone_of_addresses_is_printed_by_its_name(
    run: Run, controller: FakeController
) -> None:
    said = run("zone", REVERSE, "--ns", "ns1.example.net")
    assert "1\tIN PTR web.example.internal.\n" in said.out
    wrong = run("zone", "nope", "--ns", "ns1.example.net")
    assert (wrong.code, "there are: example.internal, " in wrong.err) == (2, True)
    assert controller.asked.count("snapshot") == 2


def test_all_of_them_are_written_and_nothing_else(
    run: Run, controller: FakeController, tmp_path: Path
) -> None:
    for _ in range(2):
        assert run("zone", "--ns", "ns1.example.net", "--output", tmp_path / "zones").code == 0
    files = sorted(path.name for path in (tmp_path / "zones").iterdir())
    assert {"example.internal.zone", f"{REVERSE}.zone"} <= set(files)
    assert all(name.endswith(".zone") for name in files)
    assert controller.asked


def test_scripts_get_all_of_them(run: Run, controller: FakeController) -> None:
    said = json.loads(run("zone", "--ns", "ns1.example.net", "--json").out)
    assert said[0]["name"] == "example.internal"
    assert controller.asked


def test_what_is_no_name_server_is_refused(run: Run, controller: FakeController) -> None:
    for wrong in ("a b", "ns1.example.net.", "x\ty", "ns9.example.internal", ""):
        assert run("zone", "--ns", wrong).code == 2
    assert "no service says 53/udp" in run("zone").err
    assert controller.asked
