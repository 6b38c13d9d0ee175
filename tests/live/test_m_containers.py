"""A service of images: everywhere, rolled under load, and there without anybody's help."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.rig import NEAREST, Rig
from pltfrms.model.network.topology import Role
from pltfrms.model.services.jobs import RunReason
from tests.live.images import PORT
from tests.registry import conf_text

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300), pytest.mark.heavy]

ROOT = Path(__file__).parents[2]
KEEPER = "fra-c1"
REGISTRY = "registry.example"
CONF = "/etc/containers/registries.conf.d/box.conf"
SPEC = """\
service: box
run:
  image: IMAGE
  args: ['{"datacenter": "${pltfrms.datacenter}", "instance": "${pltfrms.instance}"}']
  cpu: 0.1
  memory: 32MiB
replicas: {per_datacenter: 1}
ports: [80/tcp]
probe: {http: /healthz, port: 80, timeout: 2s, rise: 2}
rollout: {bake: 0s}
"""
ONCE = """\
job: once
run: {image: IMAGE, args: [said], cpu: 0.1, memory: 32MiB,}
timeout: 2s
"""
"""Its program serves for ever."""


@dataclass(frozen=True)
class Shop:
    """A registry in the lab, and what it has."""

    rig: Rig
    directory: Path
    registry: str
    images: tuple[str, ...]

    def apply(self, image: str) -> None:
        path = self.directory / "box.yaml"
        path.write_text(SPEC.replace("IMAGE", f"{REGISTRY}/{image}"))
        self.rig.cli("apply", str(path), "--yes", "--wait")

    def begin(self, image: str) -> None:
        """Run it as a service, and once as a job."""
        self.apply(image)
        path = self.directory / "once.yaml"
        path.write_text(ONCE.replace("IMAGE", f"{REGISTRY}/{image}"))
        self.rig.cli("apply", str(path), "--yes")
        self.rig.cli("job", "run", "once")

    def end_registry(self) -> None:
        self.rig.run(KEEPER, "kill", "-9", self.registry, check=False)

    def nodes(self) -> dict[str, str]:
        """Return the node of each allocation."""
        all_of_them = self.rig.snapshot().allocations.values()
        return {each.id: each.node for each in all_of_them if each.service == "box"}

    def versions(self) -> set[str]:
        """Return what runs, by the names of programs."""
        look = ("sh", "-c", "ps -eo args= | sed -n 's,^/\\(one\\|two\\) .*,\\1,p'")
        return {self.rig.run(node, *look).strip() for node in self.nodes().values()}

    def addresses(self) -> dict[int, str]:
        """Return where the service answers, by family."""
        prefixes = self.rig.snapshot().services["box"].prefixes
        return {each.version: str(each.network_address) for each in prefixes}

    def asked(self) -> dict[tuple[str, int], str]:
        """Return what each eyeball is told, on each address of the service."""
        asking = {
            (eyeball, family): (eyeball, "curl", "-sgm3", url(host))
            for eyeball in NEAREST
            for family, host in self.addresses().items()
        }
        with ThreadPoolExecutor() as pool:
            said = pool.map(lambda words: self.rig.run(*words), asking.values())
            return dict(zip(asking, said, strict=True))


def url(host: str) -> str:
    return f"http://[{host}]/" if ":" in host else f"http://{host}/"


@pytest.fixture
def shop(healthy: Rig, tmp_path: Path) -> Iterator[Shop]:
    platform = healthy.snapshot().platform
    words = f"cd {ROOT} && {sys.executable} -B -m tests.live.images one two"
    pid, *images = healthy.run(KEEPER, "sh", "-c", words).split()
    where = f"{platform.loopback4(platform.machine(KEEPER))}:{PORT}"
    nodes = [each.name for each in platform.machines_of(Role.NODE)]
    write = (
        f"mkdir -p {Path(CONF).parent} && cat >{CONF} <<'.'\n{conf_text(REGISTRY, where)}.\n"
    )
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: healthy.run(node, "sh", "-c", write), nodes))
    shop = Shop(healthy, tmp_path, pid, tuple(images))
    yield shop
    healthy.restore()
    shop.end_registry()
    healthy.cli("service", "delete", "box", "--yes")
    healthy.wait("it is gone", lambda: not shop.nodes(), 60)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: healthy.run(node, "rm", CONF), nodes))


def pids(rig: Rig, nodes: dict[str, str]) -> dict[str, int]:
    """Return the first process of each instance, as its node has noted it."""
    notes = {
        name: rig.run(node, "cat", f"/run/pltfrms/instances/{name}.json", check=False)
        for name, node in nodes.items()
    }
    return {name: int(json.loads(said)["pid"]) for name, said in notes.items() if said}


def adopted(rig: Rig, nodes: dict[str, str]) -> int:
    """Return how often agents have said that they took one of these over."""
    look = "grep 'instance adopted' /var/log/pltfrms/agent.log | grep -c box || true"
    return sum(int(rig.run(node, "sh", "-c", look)) for node in nodes.values())


def require_too_long(rig: Rig) -> None:
    """See how the job has ended by itself meanwhile: nobody told its image's program to."""
    run = rig.snapshot().runs["once@1"]
    assert (run.reason, run.exit_code) == (RunReason.TOO_LONG, 143), run
    assert run.detail == "killed by signal 15 when its time was over"
    rig.cli("job", "delete", "once", "--yes")


def test_containers_are_rolled_under_load_and_need_nobody_afterwards(shop: Shop) -> None:
    rig, (one, two) = shop.rig, shop.images
    shop.begin(one)
    said = shop.asked()
    assert {key: json.loads(text)["datacenter"] for key, text in said.items()} == {
        (eyeball, family): near for eyeball, near in NEAREST.items() for family in (4, 6)
    }
    rig.wait("the job has ended", lambda: shop.versions() == {"one"}, 40)

    with rig.asking(service="box") as report:
        shop.apply(two)
    assert report["lost"] == 0, (report["errors"], report["answered_by"])
    # At the end of `--wait` the old ones may still drain.
    rig.wait("the old ones have ended", lambda: shop.versions() == {"two"}, 40)

    require_too_long(rig)

    nodes, addresses = shop.nodes(), shop.addresses()
    before = pids(rig, nodes)
    assert len(before) == len(NEAREST)
    shop.end_registry()
    rig.client.fault("controllers")
    counted = adopted(rig, nodes)
    for node in nodes.values():
        rig.client.fault(f"daemon/{node}/agent")
        rig.client.heal(f"daemon/{node}/agent")
    everyone = counted + len(nodes)
    rig.wait("all are adopted", lambda: adopted(rig, nodes) == everyone, 30)
    assert pids(rig, nodes) == before

    name, node = next(each for each in nodes.items() if ".fra." in each[0])
    rig.client.boot(f"node/{node}")

    def serves() -> bool:  # until it is ready, others answer in its place
        asking = (("curl", "-sgm3", url(host)) for host in addresses.values())
        said = [rig.run("berlin", *words, check=False) for words in asking]
        nearest = {json.loads(each)["datacenter"] for each in said if each}
        return pids(rig, {name: node}).keys() == {name} and all(said) and nearest == {"fra"}

    rig.wait("it is started from what the node has", serves, 40)
    report = rig.probe("berlin", "--duration", "2s", service="box")
    assert report["answered_by"]["before"].keys() == {"fra"}, report
