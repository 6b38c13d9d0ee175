"""The example of a shop: found by name, rolled under load, and there without anybody's help.

    PLTFRMS_SHOP=1 scripts/as-root .venv/bin/python -m pytest tests/live/test_z_shop.py

It takes five minutes of two processors, so only who asks for it has it.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from bench.rig import NEAREST, ROOT, Rig
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import SERVICE_TABLE
from pltfrms.model.services.jobs import JobRun, RunReason

pytestmark = [
    *(pytest.mark.live, pytest.mark.root, pytest.mark.timeout(600), pytest.mark.heavy),
    pytest.mark.skipif("PLTFRMS_SHOP" not in os.environ, reason="PLTFRMS_SHOP asks for it"),
]

SCRIPT = ROOT / "examples" / "shop" / "shop"
CUSTOMER = SCRIPT.with_name("customer.py")
SHOP = ("site", "api", "cache", "carts", "ns")
KEEPER = "fra-c1"
NAME_SERVERS = ("198.51.100.53", "2001:db8:100::53")
ONCE = """\
job: once
run: {{image: "{image}", cpu: 0.1, memory: 32MiB}}
timeout: 2s
"""
_OF_SHOP = rf"\b({'|'.join(SHOP)})\."


@dataclass(frozen=True)
class Shop:
    """The example in a lab."""

    rig: Rig

    def script(self, *words: str) -> None:
        """Run the script of the example as a person would."""
        ours = {"PLTFRMS": f"{sys.executable} -m pltfrms", "PLTFRMS_LAB": self.rig.client.name}
        done = subprocess.run(
            (SCRIPT, *words),
            env=os.environ | ours,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=330,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def nodes(self, *services: str) -> dict[str, str]:
        """Return the node of each allocation."""
        every = self.rig.snapshot().allocations.values()
        return {each.id: each.node for each in every if each.service in (services or SHOP)}

    def settled(self) -> bool:
        """Return whether only what is wanted runs: at the end of `--wait` others may drain."""
        snapshot = self.rig.snapshot()
        every = (each.instances for each in snapshot.statuses.values())
        running = {one.allocation for some in every for one in some}
        return snapshot.allocations.keys() >= running

    def addresses(self, service: str) -> dict[int, str]:
        """Return where a service answers, by family."""
        prefixes = self.rig.snapshot().services[service].prefixes
        return {each.version: str(each.network_address) for each in prefixes}

    def pids(self, nodes: Mapping[str, str]) -> dict[str, int]:
        """Return the first process of each allocation, as its node has noted it."""

        def note(name: str) -> str:
            path = f"/run/pltfrms/instances/{name}.json"
            return self.rig.run(nodes[name], "cat", path, check=False)

        with ThreadPoolExecutor() as pool:
            found = dict(zip(nodes, pool.map(note, nodes), strict=True))
        return {name: int(json.loads(text)["pid"]) for name, text in found.items() if text}

    def adopted(self, nodes: Iterable[str]) -> int:
        """Return how often agents have said that they took one of these over."""
        look = (
            f"grep 'instance adopted' /var/log/pltfrms/agent.log | grep -cE '{_OF_SHOP}' || :"
        )
        return sum(int(self.rig.run(node, "sh", "-c", look)) for node in nodes)

    def told(self, name: str, kind: str = "aaaa", city: str = "berlin") -> set[str]:
        """Return what the name server says to a city, by each of its addresses."""
        words = ("busybox", "nslookup", f"-type={kind}", name)
        said = (self.rig.run(city, *words, each, check=False) for each in NAME_SERVERS)
        return {" ".join(text.partition("\n\n")[2].split()) for text in said}

    def names(self, wanted: Mapping[int, str]) -> bool:
        """Return whether the site's name is right, wherever and about whatever one asks."""
        name, kinds = "site.example.internal", {4: "a", 6: "aaaa"}
        ends = [wanted[4], wanted[6], f"name = {name}", f"name = {name}"]
        right = {
            city: [self.told(name, kinds[family], city) for family in (4, 6)]
            + [self.told(ip_address(each).reverse_pointer, "ptr", city) for each in ends[:2]]
            for city in NEAREST
        }
        return all(
            len(said) == 1 and said.pop().endswith(end)
            for every in right.values()
            for said, end in zip(every, ends, strict=True)
        )

    @contextmanager
    def job_that_takes_too_long(self) -> Iterator[None]:
        """Run what serves for ever as a job meanwhile, and see how it was ended."""
        rig, container = self.rig, self.rig.snapshot().services["site"].spec.run.container
        assert container is not None
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "once.yaml")
            path.write_text(ONCE.format(image=container.image))
            rig.cli("apply", str(path), "--yes")
        rig.cli("job", "run", "once")
        yield
        rig.wait("the job has ended", lambda: bool(last_run(rig).ended_ms), 60)
        run = last_run(rig)
        assert (run.reason, run.exit_code) == (RunReason.TOO_LONG, 143), run
        assert run.detail == "killed by signal 15 when its time was over"
        rig.cli("job", "delete", "once", "--yes")

    def buy(self, api: str) -> int:
        """Return the number of an order; 0: nobody took it."""
        said = self.rig.run("berlin", "curl", "-sgm10", f"http://{api}/buy", check=False)
        return int(json.loads(said).get("order", 0)) if said else 0


@dataclass
class Visits:
    """What customers of all cities went through; complete when they have gone."""

    asked: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    by: dict[str, Counter[str]] = field(default_factory=dict)
    orders: int = 0

    def others_than(self, *tiers: str) -> list[str]:
        """Return what went wrong with other tiers, and how often."""
        said = (f"{count} x {why}" for why, count in self.why.items())
        return [each for each in said if each.split()[2].rstrip(":") not in tiers]

    def add(self, city: str, report: dict[str, Any]) -> None:
        for name in ("asked", "failed", "why"):
            getattr(self, name).update(report[name])
        self.by[city] = Counter(report["answered"])
        self.orders = max(self.orders, report["orders"])


@contextmanager
def customers(rig: Rig) -> Iterator[Visits]:
    """Have customers in each city for as long as the block takes."""
    visits, running = Visits(), dict[str, "subprocess.Popen[str]"]()
    for city in NEAREST:
        argv = rig.client.exec_argv(city, (sys.executable, "-I", "-B", str(CUSTOMER), "20"))
        pipe = subprocess.PIPE
        running[city] = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True)
    try:
        time.sleep(1)
        yield visits
        time.sleep(1)
    finally:
        ended = [(city, each.communicate()[0]) for city, each in running.items()]
    for city, text in ended:
        visits.add(city, json.loads(text))


@contextmanager
def most_at_once(rig: Rig, service: str) -> Iterator[list[int]]:
    """Count the allocations of a service, over and over, as controllers have them."""
    counts, done = list[int](), threading.Event()

    def count() -> None:
        while not done.wait(0.2):
            try:
                snapshot = rig.snapshot()
            except UnavailableError:
                continue
            counts.append(
                sum(each.service == service for each in snapshot.allocations.values())
            )

    counting = threading.Thread(target=count)
    counting.start()
    try:
        yield counts
    finally:
        done.set()
        counting.join()


@pytest.fixture(scope="module")
def shop(lab: Rig) -> Iterator[Shop]:
    lab.restore()
    shop = Shop(lab)
    shop.script("up")
    yield shop
    lab.restore()
    lab.run(KEEPER, "pkill", "docker-registry", check=False)
    ours = lab.snapshot().services.keys() & SHOP
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: lab.cli("service", "delete", name, "--yes"), ours))
    lab.wait("it is gone", lambda: not shop.nodes(), 60)


@pytest.fixture(autouse=True)
def well(shop: Shop) -> Iterator[None]:
    """Undo all faults after each test, also after one that failed."""
    yield
    shop.rig.restore()


def test_every_tier_is_found_by_name_and_rolled_under_load(shop: Shop) -> None:
    rig, api = shop.rig, shop.addresses("api")[4]
    first, [(carts, node)] = shop.buy(api), shop.nodes("carts").items()
    kept = list_of_volumes(rig)
    assert [each["node"] for each in kept] == [node]
    with (
        shop.job_that_takes_too_long(),
        most_at_once(rig, "carts") as counts,
        customers(rig) as visits,
    ):
        shop.script("release", "all", "2")
    assert not visits.others_than("carts")  # which stop before they start
    assert visits.asked.keys() == {"ns", "site", "api", "carts"}
    for city, near in NEAREST.items():
        answered = visits.by[city]
        for version in (1, 2):
            assert answered[f"site A small shop, version {version}"], answered
            assert answered[f"api {near} {version} hit"], answered
        assert not [each for each in answered if each.endswith("away")], answered
    assert max(counts) == 1
    assert 0 < first < visits.orders < shop.buy(api)
    [(later, there)] = shop.nodes("carts").items()
    assert (later != carts, there) == (True, node)
    assert [each["id"] for each in list_of_volumes(rig)] == [kept[0]["id"]]


def test_a_site_that_loses_its_cache_asks_another_one(shop: Shop) -> None:
    with customers(shop.rig) as visits:
        shop.rig.client.fault("instance/cache/fra/1", for_ms=4000)
        time.sleep(4)
    assert not visits.others_than()


def test_without_controllers_names_and_containers_stay(shop: Shop) -> None:
    shop.rig.wait("what was before has ended", shop.settled, 90)
    rig, lives, site = shop.rig, shop.nodes(), shop.addresses("site")
    api, nodes, before = shop.addresses("api")[4], set(lives.values()), shop.pids(lives)
    assert before.keys() == lives.keys()
    assert shop.names(site)
    orders, everyone = shop.buy(api), shop.adopted(nodes) + len(lives)
    rig.run(KEEPER, "pkill", "docker-registry", check=False)
    rig.client.fault("controllers")
    for node in nodes:
        rig.client.fault(f"daemon/{node}/agent")
        rig.client.heal(f"daemon/{node}/agent")
    rig.wait("all are adopted", lambda: shop.adopted(nodes) == everyone, 60)
    assert shop.pids(lives) == before
    assert shop.names(site)

    [carts] = (name for name in lives if name.startswith("carts."))
    [ours] = (name for name in lives if name.startswith("site.fra.1"))
    for node in {lives[carts], lives[ours]}:
        rig.client.boot(f"node/{node}")
    gone = {name: node for name, node in lives.items() if node in {lives[carts], lives[ours]}}

    def serves() -> bool:  # until it is ready, others answer in its place
        announced = rig.run(lives[ours], "ip", "route", "show", "table", str(SERVICE_TABLE))
        here = shop.pids(gone).keys() == gone.keys() and site[4] in announced
        return here and shop.buy(api) > orders > 0

    rig.wait("they are started from what their nodes have", serves, 90)
    rig.wait("their names are right", lambda: shop.names(site), 60)


def test_a_volume_is_there_after_its_service_and_names_are_not(shop: Shop) -> None:
    rig = shop.rig
    assert shop.told("carts.example.internal") != {""}
    [volume] = list_of_volumes(rig)
    refused = ("volume", "release", volume["id"], "--yes", "--why", "a try")
    with pytest.raises(UnavailableError, match="is in use by"):
        rig.cli(*refused)
    rig.cli("service", "delete", "carts", "--yes")
    rig.wait(
        "no site knows the name",
        lambda: all("NXDOMAIN" in said for said in unknown(shop)),
        60,
    )
    assert [each["id"] for each in list_of_volumes(rig)] == [volume["id"]]
    rig.cli("volume", "release", volume["id"], "--yes", "--why", "the shop is closed")
    rig.wait("its node has deleted it", lambda: not list_of_volumes(rig), 60)


def last_run(rig: Rig) -> JobRun:
    every = rig.snapshot().runs.values()
    return max((each for each in every if each.job == "once"), key=lambda each: each.number)


def list_of_volumes(rig: Rig) -> list[dict[str, Any]]:
    """Return those of the carts."""
    found: list[dict[str, Any]] = json.loads(rig.cli("volume", "list", "--json"))
    return [each for each in found if each["id"].startswith("carts.")]


def unknown(shop: Shop) -> list[str]:
    words = ("busybox", "nslookup", "-type=aaaa", "carts.example.internal", NAME_SERVERS[0])
    return [shop.rig.run(city, *words, check=False) for city in NEAREST]
