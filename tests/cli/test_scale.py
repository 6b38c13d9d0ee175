"""Another number of replicas: planned at one revision, shown, asked for, done."""

import json
from dataclasses import replace

import pytest

from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import Change, ChangeLine, PlanPreview
from pltfrms.model.messages.guards import Guard
from tests.cli.conftest import Run
from tests.cli.world import HEALTHY, WEB, FakeController

LINES = (ChangeLine(about="service/web", action="update", detail="3 per datacenter"),)


def test_the_number_alone_changes(run: Run, controller: FakeController) -> None:
    controller.changes = LINES
    said = run("service", "scale", "web", "3", "--yes", "--why", "more to do")
    assert said.code == 0
    assert "update service/web: 3 per datacenter" in said.out
    assert "applied, revision" in said.out
    assert controller.planned[0].revision == HEALTHY.revision
    (change,) = controller.applied
    assert change.services == (replace(WEB.spec, per_datacenter=3),)
    assert change.why == "more to do"


def test_in_one_datacenter(run: Run, controller: FakeController) -> None:
    controller.changes = LINES
    words = ("service", "scale", "web", "3", "--datacenter", "fra", "--yes", "--json")
    assert json.loads(run(*words).out)["changes"]
    assert controller.applied[0].services == (replace(WEB.spec, counts=(("fra", 3),)),)
    wrong = run("service", "scale", "web", "3", "--datacenter", "nowhere", "--yes")
    assert (wrong.code, "does not run in nowhere" in wrong.err) == (2, True)
    assert run("service", "scale", "web", "0", "--yes").code == 2


def test_the_same_number_is_no_change(run: Run, controller: FakeController) -> None:
    said = run("service", "scale", "web", "2", "--yes")
    assert said.code == 0
    assert "no change: web is to have so many already" in said.out
    assert controller.applied == []


def test_nobody_can_be_asked_without_a_terminal(run: Run, controller: FakeController) -> None:
    assert run("service", "scale", "web", "3").code == 2
    assert controller.applied == []


def test_a_service_that_changes_meanwhile_is_read_anew(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(WEB, spec=replace(WEB.spec, weight=20))
    controller.changes = LINES
    controller.snapshots = [HEALTHY, replace(HEALTHY, revision=99, services={"web": other})]
    plan = controller.plan

    def moved(change: Change) -> PlanPreview:
        if change.revision == HEALTHY.revision:
            raise ConflictError("the last commit is 99")
        return plan(change)

    monkeypatch.setattr(controller, "plan", moved)
    assert run("service", "scale", "web", "3", "--yes").code == 0
    assert controller.applied[0].services == (replace(other.spec, per_datacenter=3),)


def test_what_somebody_else_scales_before_it_is_done_stays(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown of the change is the same then; what stands in it is not."""
    there = replace(WEB, spec=replace(WEB.spec, counts=(("ams", 5),)))
    controller.changes = LINES
    controller.snapshots = [HEALTHY, replace(HEALTHY, revision=99, services={"web": there})]
    apply, others = controller.apply, iter((True,))

    def late(change: Change) -> PlanPreview:
        if next(others, False):
            raise ConflictError("the last commit is 99")
        return apply(change)

    monkeypatch.setattr(controller, "apply", late)
    assert run("service", "scale", "web", "3", "--datacenter", "fra", "--yes").code == 0
    (change,) = controller.applied
    assert dict(change.services[0].counts) == {"ams": 5, "fra": 3}


def test_a_guard_that_forbids_it_is_meant_or_it_is_not_done(
    run: Run, controller: FakeController
) -> None:
    controller.changes = LINES
    words = ("service", "scale", "web", "3", "--yes", "--yes-i-mean", "n1_admission")
    assert run(*words).code == 0
    assert controller.applied[0].despite == (Guard.N1_ADMISSION,)
