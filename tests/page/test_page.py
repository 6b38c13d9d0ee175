"""What people see of a platform in a browser: Chromium, the built page, and a made-up view."""

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from pltfrms.cli.platform.ui import PAGE
from pltfrms.cli.shared.page_server import PageServer
from pltfrms.codec import encode
from pltfrms.model.messages.api import Event, InterventionReply
from pltfrms.model.messages.glass import InstanceLog, LogAnswers
from pltfrms.model.messages.guards import Effect, RoutingChange
from pltfrms.model.messages.picture import Seen
from pltfrms.model.network.interventions import Interventions
from tests.cli.world import NOW_MS
from tests.page.screen import NARROW, PATIENCE_MS, WIDE, Scheme, Screen
from tests.page.stand_in import StandIn
from tests.page.states import (
    MARKUP,
    asked_as_clients,
    full_of_markup,
    hostile_event,
    in_charge,
    in_trouble,
    large,
)

FIRST_LOAD_MAX = 60_000
"""Bytes, compressed, before anything is seen."""
AXE = Path(__file__).parents[2] / "page" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = {"serious", "critical"}
_LONGEST = """() => new Promise(said => {
  new PerformanceObserver(list =>
    said(Math.max(...list.getEntries().map(each => each.duration)))
  ).observe({type: 'longtask', buffered: true});
  setTimeout(said, 5000, 0);
})"""
"""Milliseconds; 0: none was long, of which a browser says nothing."""


def stroke(screen: Screen, name: str) -> str:
    """Return in which colour a box of the picture is drawn."""
    found = screen.box(name).locator(".box").evaluate("each => getComputedStyle(each).stroke")
    return str(found)


def legend(screen: Screen, state: str) -> str:
    line = screen.page.locator(f".legend .{state} .line")
    return str(line.evaluate("each => getComputedStyle(each).stroke"))


def test_how_it_is_comes_first_and_what_is_broken_next(
    screen: Screen, controller: StandIn
) -> None:
    page = screen.page
    assert "all is well" in page.locator("h1").inner_text()
    assert page.locator("header li").count() == 0
    controller.show(in_trouble())
    page.wait_for_selector("header li")
    assert "all is well" not in page.locator("h1").inner_text()
    said = page.locator("header").inner_text()
    for words in ("fra-e1", "broken, or not known", "by hand", "new optics"):
        assert words in said
    screen.shoot("trouble")


def test_four_states_look_different_and_only_bad_is_red(
    screen: Screen, controller: StandIn
) -> None:
    picture = in_trouble()
    controller.show(picture)
    screen.page.wait_for_selector('a.bad[data-id="fra-e1"]')
    colours = {state.value: legend(screen, state.value) for state in Seen}
    assert len(set(colours.values())) == len(Seen)
    named = [*picture.edges, *picture.machines, *picture.peers, *picture.fabrics]
    assert {each.state for each in named} >= {Seen.GOOD, Seen.BAD, Seen.UNKNOWN}
    for each in named:
        assert stroke(screen, each.id) == colours[each.state.value], each.id
    for each in picture.machines:
        if each.datacenter == "ams":
            assert "not known" in screen.box(each.id).inner_html()


def test_whether_clients_are_served_is_said_in_words(
    screen: Screen, controller: StandIn
) -> None:
    page = screen.page
    table = page.get_by_role("region", name="Table of services")
    cell = table.locator("tbody tr").first.locator("td").nth(2)
    assert cell.inner_text() == "not known", "a controller of a release before says nothing"
    assert cell.get_attribute("class") == "word unknown"
    controller.show(in_trouble())
    page.get_by_text("clients: web is partly served").wait_for()
    assert cell.inner_text() == "partly"
    picture = asked_as_clients()
    controller.show(picture)
    table.get_by_role("link", name="service3").wait_for()
    for each in picture.clients:
        cell = table.get_by_role("row").filter(has_text=each.id).locator("td").nth(2)
        assert cell.inner_text() == each.served
        colour = cell.evaluate("each => getComputedStyle(each).color")
        assert colour == legend(screen, each.state.value)
        page.goto(f"{screen.home}#/{each.id}")
        page.locator("section[aria-live]").get_by_text(f"clients: {each.served}").wait_for()
        said = page.locator("section[aria-live]").inner_text()
        assert each.why in said
        assert ("asked from ams, berlin" in said) == bool(each.asked_from)
        assert ("answered: berlin by ams, fra" in said) == bool(each.answered_by)
    page.get_by_label("Find a service").fill("not served")
    assert table.get_by_role("link").all_inner_texts() == ["service2"]
    screen.shoot("clients")


def test_clients_stand_above_all_that_serves_them(screen: Screen, controller: StandIn) -> None:
    page, picture = screen.page, in_trouble()
    bad = replace(picture.fabrics[0], state=Seen.BAD, why="nobody is heard over it")
    controller.show(replace(picture, fabrics=(bad, *picture.fabrics[1:])))
    page.wait_for_selector('svg a.bad[data-id="from/ams"]')
    page.wait_for_selector('svg a.good[data-id="from/berlin"]')
    assert "served by ams, fra" in (screen.box("from/berlin").text_content() or "")
    assert page.locator("path.answer").count() == 2, "from berlin to each of them"
    page.wait_for_selector(f'svg a.bad[data-id="{bad.id}"]')
    row = ["from/berlin", picture.peers[0].id, "fra-e1", "fra/a", "fra-n1"]
    boxes = [screen.box(each).locator("rect").bounding_box() for each in row]
    tops = [box["y"] for box in boxes if box]
    assert len(tops) == len(row)
    assert tops == sorted(set(tops))
    screen.box("from/ams").press("Enter")
    panel = page.locator("section[aria-live]")
    panel.get_by_text("web: not served").wait_for()
    assert picture.clients[0].why in panel.inner_text()
    assert "pltfrms vantage show" in panel.inner_text()
    screen.box(bad.id).press("Enter")
    panel.get_by_text(bad.why).wait_for()
    screen.shoot("clients-above")


def test_roles_load_and_disks_stand_beside_their_service(
    screen: Screen, controller: StandIn
) -> None:
    page, picture = screen.page, in_charge()
    controller.show(picture)
    table = page.get_by_role("region", name="Table of services")
    row = table.get_by_role("row").filter(has_text="writer")
    row.wait_for()
    assert "writer: not known" in row.inner_text()
    assert "reader: db.ams.1-1 on ams-n1, epoch 7" in row.inner_text()
    colour = row.get_by_text("not known").last.evaluate("each => getComputedStyle(each).color")
    assert colour == legend(screen, "unknown")
    table.get_by_role("link", name="db").press("Enter")
    panel = page.locator("section[aria-live]")
    panel.get_by_text("role writer: not known").wait_for()
    said = panel.inner_text()
    for words in (
        "not known of db.fra.1-1",
        "has to do: 0.42 cores (measured in 3 h); busiest: db.fra.1-1 on fra-n1",
        "promised: 0.5 cores and 512 MiB of memory each",
        "volume db.fra.1@3 on fra-n1: bad 9.8 GiB of 10 GiB 98 % full",
        "volume db.ams.1@1 on ams-n1: not known",
        "and 3 volumes more",
    ):
        assert words in said, said
    screen.shoot("roles", whole=True)


def test_a_node_says_what_it_promises_has_to_do_and_keeps(
    screen: Screen, controller: StandIn
) -> None:
    page, picture = screen.page, in_charge()
    node = next(each for each in picture.machines if each.id == "fra-n1")
    node = replace(node, instances=2)
    machines = tuple(node if each.id == node.id else each for each in picture.machines)
    controller.show(replace(picture, machines=machines))
    page.goto(f"{screen.home}#/{node.id}")
    panel = page.locator("section[aria-live]")
    panel.get_by_text("promised: 1.5 of 4 cores").wait_for()
    said = panel.inner_text()
    for words in (
        "1.0 GiB of 8.0 GiB of memory",
        "used: at most 0.43 cores by 1 of 2 instances, the others are not measured",
        "busiest: db.fra.1-1: at most 85 % of its cpu",
        "memory in use and pressure: not known",
        "volume db.fra.1@3: bad 9.8 GiB of 10 GiB 98 % full",
        "and 2 volumes more",
    ):
        assert words in said, said
    screen.shoot("node", whole=True)
    page.goto(f"{screen.home}#/fra-c1")
    panel.get_by_text("controller fra-c1").wait_for()
    assert "promised" not in panel.inner_text(), "it is no node"


def test_a_job_that_failed_is_on_top_and_leads_to_its_runs(
    screen: Screen, controller: StandIn
) -> None:
    page, picture = screen.page, in_charge()
    assert page.get_by_role("region", name="Table of jobs").count() == 0, "there is none yet"
    controller.show(picture)
    table = page.get_by_role("region", name="Table of jobs")
    table.get_by_role("link", name="backup").wait_for()
    assert table.get_by_role("link").all_inner_texts() == ["backup", "move"], "bad ones first"
    table.get_by_text("in 10 min").wait_for()
    assert "when somebody says so" in table.inner_text()
    on_top = page.locator("header").get_by_role("link", name="job/backup")
    page.locator("header").get_by_text("for 59 min").wait_for()
    on_top.press("Enter")
    panel = page.locator("section[aria-live]")
    panel.get_by_text("job backup: bad").wait_for()
    said = panel.inner_text()
    for words in (
        "pltfrms job show backup",
        "backup@8 on ams-n1: failed",
        "backup@7",
        "in ams",
    ):
        assert words in said, said
    runs = tuple(replace(each, state=Seen.GOOD) for each in picture.jobs[1].runs)
    mended = replace(picture.jobs[1], state=Seen.GOOD, why="it ended", runs=runs)
    controller.show(replace(picture, jobs=(picture.jobs[0], mended), problems=()))
    panel.get_by_text("job backup: good").wait_for()
    screen.shoot("jobs")


def test_markup_in_names_and_details_is_shown_as_text(
    screen: Screen, controller: StandIn
) -> None:
    page = screen.page
    page.on("dialog", lambda dialog: screen.said.append(f"a script ran: {dialog.message}"))
    charge = in_charge()
    picture = replace(
        in_trouble(), services=charge.services, jobs=charge.jobs, machines=charge.machines
    )
    hostile = full_of_markup(picture)
    controller.tell(hostile_event())
    controller.show(hostile)
    page.get_by_text(MARKUP).first.wait_for()
    page.goto(f"{screen.home}#/{hostile.edges[0].id}")
    page.locator("section[aria-live]").get_by_text(MARKUP).first.wait_for()
    node = next(each for each in hostile.machines if each.id.startswith("fra-n1"))
    for each in (hostile.services[0], hostile.jobs[0], node):
        page.goto(f"{screen.home}#/{quote(each.id, safe='')}")
        page.locator("section[aria-live]").get_by_text(MARKUP).first.wait_for()
    assert page.locator("#page img, #page script, #page b").count() == 0
    assert MARKUP in page.locator("ol").inner_text()
    assert MARKUP in page.locator("table").first.inner_text()


def test_all_that_is_drawn_is_reached_and_chosen_by_keyboard(
    screen: Screen, controller: StandIn
) -> None:
    page, picture = screen.page, replace(in_trouble(), jobs=in_charge().jobs)
    controller.show(picture)
    page.wait_for_selector("a.bad")
    names = [*picture.datacenters, *picture.edges, *picture.machines, *picture.peers]
    wanted = {each.id for each in (*names, *picture.fabrics, *picture.services)}
    wanted |= {"backup", "move", "from/ams", "from/berlin"}
    reached: set[str] = set()
    for _ in range(10 * len(wanted)):
        page.keyboard.press("Tab")
        there = "document.activeElement.dataset.id ?? document.activeElement.textContent"
        reached.add(str(page.evaluate(there)).strip())
        if wanted <= reached:
            break
    assert wanted <= reached
    page.keyboard.press("Enter")
    chosen = page.evaluate("decodeURIComponent(location.hash)")
    assert chosen.removeprefix("#/").removeprefix("job/") in wanted
    page.locator("section[aria-live]").wait_for()
    page.keyboard.press("Escape")
    page.locator("section[aria-live]").wait_for(state="detached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("size", "chosen"),
    [(WIDE, "db"), (NARROW, "fra-n1")],
    ids=["wide", "narrow"],
)
def test_it_can_be_used_by_everybody(
    screen: Screen, controller: StandIn, scheme: Scheme, size: tuple[int, int], chosen: str
) -> None:
    """As far as axe-core can tell."""
    screen.size(size, scheme)
    controller.tell(Event(sequence=1, at_ms=NOW_MS, source="s", about="web", what="rolled out"))
    charge = in_charge()
    trouble = replace(in_trouble(), services=charge.services, jobs=charge.jobs)
    full = next(each for each in charge.machines if each.id == "fra-n1")
    machines = tuple(full if each.id == full.id else each for each in trouble.machines)
    controller.show(replace(trouble, machines=machines))
    screen.page.wait_for_selector("a.bad")
    screen.page.goto(f"{screen.home}#/{chosen}")
    screen.page.locator("section[aria-live]").wait_for()
    name = f"{scheme}-{'wide' if size == WIDE else 'narrow'}"
    screen.shoot(f"{name}-{chosen}", whole=True)
    screen.page.evaluate(AXE.read_text())
    report: dict[str, Any] = screen.page.evaluate("() => axe.run()")
    found = {
        each["id"]: [node["html"] for node in each["nodes"]]
        for each in report["violations"]
        if each["impact"] in GRAVE
    }
    assert report["passes"]
    assert found == {}
    over = screen.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert over <= 0, "wider than the window"


def test_an_address_names_what_is_looked_at(
    chromium: Browser, server: PageServer, tmp_path: Path
) -> None:
    with Screen.of(chromium, server.address, tmp_path) as screen:
        screen.page.goto(f"{screen.home}#/web")
        screen.page.reload()
        found = screen.page.locator("section[aria-live]")
        assert "service web" in found.inner_text()
        screen.box("fra-n1").click()
        assert screen.page.url.endswith("#/fra-n1")
        screen.page.go_back()
        screen.page.get_by_text("service web").wait_for()


def test_it_says_that_it_is_old_and_goes_on_when_a_controller_is_back(
    screen: Screen, controller: StandIn
) -> None:
    page = screen.page
    page.wait_for_selector("a.good")
    controller.stop()
    page.get_by_text("no controller is heard").wait_for()
    grey = page.locator("main").evaluate("each => getComputedStyle(each).filter")
    assert "grayscale" in str(grey), "what was known then is still there"
    assert screen.box("fra-e1").count() == 1
    controller.picture = in_trouble()
    controller.start()
    page.wait_for_selector('a.bad[data-id="fra-e1"]')
    page.get_by_text("no controller is heard").wait_for(state="detached")
    expected = re.compile("Failed to load resource")  # the browser's own words of that time
    screen.said[:] = [line for line in screen.said if not expected.search(line)]


def test_a_drain_is_looked_at_first_and_done_with_a_reason(
    screen: Screen, controller: StandIn
) -> None:
    page = screen.page
    change = RoutingChange(session=MARKUP, what="-198.51.100.0/24", effect=Effect.MOVES)
    reply = InterventionReply(
        revision=9, changed=True, interventions=Interventions(), routing=(change,)
    )
    controller.answer = lambda *_: (200, encode(reply))
    page.goto(f"{screen.home}#/fra-e1")
    page.get_by_role("button", name="drain…").press("Enter")
    dialog = page.get_by_role("dialog", name="drain edge fra-e1")
    dialog.get_by_text("-198.51.100.0/24").wait_for()
    assert MARKUP in dialog.inner_text()
    assert "pltfrms edge drain fra-e1 --why ..." in dialog.inner_text()
    yes = dialog.get_by_role("button", name="drain now")
    assert yes.is_disabled()
    assert [json.loads(body)["dry_run"] for _, path, body in controller.asked] == [True]
    screen.shoot("drain")
    dialog.get_by_label("Why").fill("new optics")
    yes.click()
    dialog.get_by_text("done, revision 9").wait_for()
    said = json.loads(controller.asked[-1][2])
    assert (said["why"], said["by"], said["edge"]) == ("new optics", "ada@laptop", "fra-e1")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached" if dialog.count() == 0 else "hidden")
    assert page.url.endswith("#/fra-e1"), "Escape closes one thing at a time"


def test_a_log_is_shown_as_text_and_followed(screen: Screen, controller: StandIn) -> None:
    page = screen.page
    asked: list[str] = []

    def answer(_method: str, path: str, _body: bytes) -> tuple[int, bytes]:
        asked.append(path)
        lines = (MARKUP, f"line {len(asked)}") if "instance=" in path else ()
        log = InstanceLog(
            allocation="web.fra.1-1", lines=lines, position=f"0.{len(asked)}", said_ms=1
        )
        return 200, encode(LogAnswers(logs=(log,)))

    controller.answer = answer
    page.goto(f"{screen.home}#/web")
    page.get_by_role("button", name="logs").press("Enter")
    log = page.get_by_role("log")
    log.get_by_text("line 3").wait_for()
    assert MARKUP in log.inner_text()
    assert page.locator("#page img").count() == 0
    assert "after=0.2" in asked[2]
    screen.shoot("log")


def test_a_map_is_loaded_only_when_it_is_wanted(screen: Screen, controller: StandIn) -> None:
    page = screen.page
    controller.show(in_trouble())
    page.wait_for_selector("a.bad")
    loaded = "() => performance.getEntriesByType('resource').map(each => each.name)"
    assert not [name for name in page.evaluate(loaded) if "Map" in name or "land" in name]
    page.get_by_role("button", name="map").press("Enter")
    page.wait_for_selector("path.land")
    screen.shoot("map")
    drawn = page.locator("svg a[data-id]")
    assert sorted(each.get_attribute("data-id") or "" for each in drawn.all()) == [
        "ams",
        "fra",
        "lon",
    ]
    page.wait_for_selector('a.unknown[data-id="ams"]')
    assert page.locator("path.way").count() == 3
    page.evaluate(AXE.read_text())
    report: dict[str, Any] = page.evaluate("() => axe.run()")
    assert [each["id"] for each in report["violations"] if each["impact"] in GRAVE] == []


def test_a_thousand_nodes_are_drawn_and_answer(screen: Screen, controller: StandIn) -> None:
    page, picture = screen.page, large()
    assert (len(picture.machines), sum(s.wanted for s in picture.services)) == (1000, 20_000)
    controller.show(picture)
    page.wait_for_selector('a[data-id="dc4-n199"]')
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector('a[data-id="dc4-n199"]')
    drawn_ms = page.evaluate("performance.now()")
    worst = picture
    for number in range(20):  # and all of them are there at once
        machines = list(worst.machines)
        machines[number] = replace(machines[number], state=Seen.BAD, why=f"broken {number}")
        worst = replace(worst, machines=tuple(machines))
        controller.show(worst)
    page.wait_for_selector('a.bad[data-id="dc0-n19"]')
    services = page.get_by_role("region", name="Table of services")
    assert services.get_by_role("link").first.inner_text() == "service0"
    ill = replace(worst.services[-1], state=Seen.BAD)
    controller.show(replace(worst, services=(*worst.services[:-1], ill)))
    services.get_by_role("link", name=ill.id).wait_for()
    assert services.get_by_role("link").first.inner_text() == ill.id
    screen.box("dc4-n199").press("Enter")
    page.locator("section[aria-live]").get_by_text("dc4-n199").first.wait_for()
    longest = page.evaluate(_LONGEST)
    screen.shoot("thousand", whole=True)
    figures = f"1 000 nodes: drawn after {drawn_ms:.0f} ms, longest task {longest:.0f} ms"
    (screen.folder / "figures.txt").write_text(figures)
    assert drawn_ms < PATIENCE_MS / 3
    assert page.locator("tbody tr").count() < 1000, "long tables are not drawn whole"


def test_the_first_load_is_small() -> None:
    if not (PAGE / "index.html").is_file():
        pytest.skip("the page is not built: there is no Node.js here")
    index = PAGE / "index.html"
    named = re.findall(r'(?:src|href)="\./(assets/[^"]+)"', index.read_text())
    assert len(named) >= 2, "a script and a style"
    files = [index, *(PAGE / name for name in named)]
    sizes = {file.name: len(gzip.compress(file.read_bytes())) for file in files}
    assert sum(sizes.values()) <= FIRST_LOAD_MAX, json.dumps(sizes)
