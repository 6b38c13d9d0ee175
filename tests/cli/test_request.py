"""`request`, and the commands that ask for a second operator; with keys of OpenSSH."""

import asyncio
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.operators.signatures import SshSignatures
from pltfrms.model.messages.api import ChangeLine, InterventionChange, Verb
from pltfrms.model.messages.guards import Guard, Verdict
from pltfrms.model.network.topology import Operator
from tests.cli.conftest import Run
from tests.cli.world import EXAMPLE, HEALTHY, FakeController

WHY = "it drains datacenter/fra"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's home; the key of ada is in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PLTFRMS_KEY", raising=False)
    (tmp_path / ".ssh").mkdir()
    for file in (".ssh/id_ada", "bob"):
        command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / file))
        subprocess.run(command, check=True)
    return tmp_path


@pytest.fixture
def operators(home: Path, controller: FakeController) -> tuple[Operator, ...]:
    made = tuple(
        Operator(name=name, keys=(" ".join((home / file).read_text().split()[:2]),))
        for name, file in (("ada", ".ssh/id_ada.pub"), ("bob", "bob.pub"))
    )
    controller.snapshots = [
        replace(HEALTHY, platform=replace(HEALTHY.platform, operators=made))
    ]
    controller.two_people = WHY
    return made


def signer(text: str, signature: str, operators: tuple[Operator, ...]) -> str:
    return asyncio.run(SshSignatures().signer(text, signature, operators))


def test_a_drain_asks_for_a_second_operator(
    run: Run, controller: FakeController, operators: tuple[Operator, ...]
) -> None:
    result = run("datacenter", "drain", "fra", "--why", "new cooling")
    assert result.code == 3
    (opened,) = controller.opened
    assert f"not done yet: a second operator must approve it, because {WHY}" in result.out
    assert f"pltfrms request approve {opened.request.id}" in result.out
    assert opened.request.about == "drain datacenter/fra; new cooling"
    assert signer(opened.request.text, opened.request.signature, operators) == "ada"


def test_an_apply_asks_for_a_second_operator(
    run: Run, controller: FakeController, operators: tuple[Operator, ...]
) -> None:
    del operators
    controller.two_people = "it changes the platform"
    controller.changes = (ChangeLine(about="platform", action="update"),)
    result = run("apply", EXAMPLE, "--yes")
    assert result.code == 3
    assert "two people are needed, because it changes the platform" in result.out
    assert "not done yet" in result.out
    assert controller.applied == []
    as_json = run("apply", EXAMPLE, "--yes", "--json")
    assert as_json.code == 3
    assert json.loads(as_json.out)["request"]["about"] == "apply platform, service/web"
    planned = run("plan", EXAMPLE)
    assert "two people are needed" in planned.out


def test_what_guards_forbid_is_not_even_asked_for(
    run: Run, controller: FakeController, operators: tuple[Operator, ...]
) -> None:
    del operators
    controller.changes = (ChangeLine(about="platform", action="update"),)
    verdict = Verdict(guard=Guard.SHRINK_GUARD, about="all", sentence="too much")
    controller.verdicts = (verdict,)
    assert run("apply", EXAMPLE, "--yes").code == 4
    assert controller.opened == []
    assert run("apply", EXAMPLE, "--yes", "--yes-i-mean", "shrink_guard").code == 3


def test_a_dry_run_says_that_two_are_needed(
    run: Run, controller: FakeController, operators: tuple[Operator, ...]
) -> None:
    del operators
    controller.reply = replace(controller.reply, two_people=WHY)
    result = run("datacenter", "drain", "fra", "--dry-run")
    assert f"two people are needed, because {WHY}" in result.out
    assert controller.opened == []


def test_without_a_key_it_is_said_which_are_known(
    run: Run, controller: FakeController, operators: tuple[Operator, ...], home: Path
) -> None:
    del operators
    (home / ".ssh" / "id_ada.pub").unlink()
    result = run("datacenter", "drain", "fra")
    assert result.code == 2
    assert "one of the operators' (ada, bob); name yours with --key" in result.err
    assert controller.opened == []
    assert run("datacenter", "drain", "fra", "--key", home / "none").code == 5


def test_who_approves_sees_it_and_signs_it(
    run: Run, controller: FakeController, operators: tuple[Operator, ...], home: Path
) -> None:
    run("datacenter", "drain", "fra")
    (opened,) = controller.opened
    number = opened.request.id
    assert "--yes" in run("request", "approve", number).err
    shown = run("request", "show", number)
    assert f"{number}: drain datacenter/fra" in shown.out
    assert f"to approve it: pltfrms request approve {number}" in shown.out
    result = run("request", "approve", number, "--yes", "--key", home / "bob")
    assert result.code == 0
    assert "asked for by ada, approved by bob" in result.out
    (approval,) = controller.approved
    assert signer(opened.request.text, approval.signature, operators) == "bob"


def test_a_text_that_is_not_the_one_of_its_id_is_not_signed(
    run: Run, controller: FakeController, operators: tuple[Operator, ...]
) -> None:
    del operators
    run("datacenter", "drain", "fra")
    (opened,) = controller.opened
    other = InterventionChange(verb=Verb.DRAIN, datacenter="lon")
    text = opened.request.text.replace("fra", other.datacenter)
    controller.opened = [replace(opened, request=replace(opened.request, text=text))]
    result = run("request", "approve", opened.request.id, "--yes")
    assert result.code == 4
    assert "do not sign it" in result.err
    assert controller.approved == []


def test_requests_are_listed_and_withdrawn(
    run: Run, controller: FakeController, operators: tuple[Operator, ...]
) -> None:
    del operators
    run("datacenter", "drain", "fra")
    number = controller.opened[0].request.id
    assert run("request", "list").out.splitlines()[1].split()[:4] == [
        number,
        "open",
        "ada",
        "-",
    ]
    (row,) = json.loads(run("request", "list", "--json").out)
    assert row["id"] == number
    assert "withdrawn: drain datacenter/fra" in run("request", "withdraw", number).out
    missing = run("request", "show", "none")
    assert missing.code == 2
    assert "no request 'none'" in missing.err
