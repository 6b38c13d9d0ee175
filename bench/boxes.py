"""Measure how long a node takes to start a hundred containers, and how often it pulls images.

    .venv/bin/python bench/boxes.py [--services 20] [--replicas 5] [--json]

A lab of examples/three-servers, with a registry on another server. All services are applied at
once, each with an image of its own and all its replicas on one server, which is edge and
controller, too. Time counts from `apply` until all are ready; pulls are what the registry was
asked for. Then the node's agent is killed, and it counts how many its successor takes over, and
whether they are the same processes.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import ROOT, Rig, machine_words, running_rig
from pltfrms.model.running.state import Phase
from tests.live.images import PORT
from tests.registry import conf_text

_EXAMPLE = ROOT / "examples" / "three-servers"
_REGISTRY = "registry.example"
_CONF = "/etc/containers/registries.conf.d/boxes.conf"
_LOG = "/var/log/registry.log"
_SITE, _NODE, _KEEPER = "fra", "fra1", "ams1"
_SPEC = """\
service: {name}
run: {{image: {registry}/{image}, args: ["{{}}"], cpu: 0.01, memory: 16MiB}}
replicas: {{{site}: {replicas}, max_per_node: {replicas}}}
ports: [80/tcp]
probe: {{http: /, port: 80, timeout: 2s}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """What was measured."""

    instances: int
    images: int
    ready_seconds: float
    first_seconds: float
    """Until the first one was ready."""
    pulls: int
    """Of images; the same number as `images` if each was fetched once."""
    restarts: int
    adopted: int
    """By the next agent, as the same processes."""
    adopted_seconds: float


def measure(rig: Rig, services: int, replicas: int) -> Boxes:
    """Apply all services at once, and wait."""
    names = [f"box{number}" for number in range(services)]
    script = (
        f"from pathlib import Path; from tests.live.images import main; main(Path('{_LOG}'))"
    )
    words = f'cd {ROOT} && {sys.executable} -B -c "{script}" {" ".join(names)}'
    _, *images = rig.run(_KEEPER, "sh", "-c", words).split()
    platform = rig.snapshot().platform
    where = f"{platform.loopback4(platform.machine(_KEEPER))}:{PORT}"
    text = conf_text(_REGISTRY, where)
    rig.run(_NODE, "sh", "-c", f"mkdir -p {Path(_CONF).parent}; cat >{_CONF} <<'.'\n{text}.\n")
    begun, first = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as directory:
        for name, image in zip(names, images, strict=True):
            said = {"name": name, "image": image, "replicas": replicas}
            spec = _SPEC.format(registry=_REGISTRY, site=_SITE, **said)
            Path(directory, f"{name}.yaml").write_text(spec)
        rig.cli("apply", directory, "--yes")
    while (ready := ready_boxes(rig)) < services * replicas:
        first = first or (time.monotonic() - begun if ready else 0.0)
        if time.monotonic() > begun + 300:
            sys.exit(f"{ready} of {services * replicas} are ready after 300 s")
        time.sleep(0.1)
    took = time.monotonic() - begun
    asked = Counter(re.findall(r"GET /v2/\S+/manifests/(\S+)", rig.run(_KEEPER, "cat", _LOG)))
    status = rig.snapshot().statuses[_NODE]
    adopted, adopted_seconds = adopt(rig, services * replicas)
    return Boxes(
        instances=services * replicas,
        images=services,
        ready_seconds=round(took, 1),
        first_seconds=round(first, 1),
        pulls=sum(asked.values()),
        restarts=sum(each.restarts for each in status.instances),
        adopted=adopted,
        adopted_seconds=round(adopted_seconds, 1),
    )


def adopt(rig: Rig, wanted: int) -> tuple[int, float]:
    """Have another agent; return how many are the same under it, and when it had all."""
    before, log, begun = pids(rig), "/var/log/pltfrms/agent.log", time.monotonic()
    count = ("sh", "-c", f"grep 'instance adopted' {log} | grep -c 'box[0-9]*[.]' || :")
    known = int(rig.run(_NODE, *count))
    rig.client.fault(f"daemon/{_NODE}/agent")
    rig.client.heal(f"daemon/{_NODE}/agent")
    rig.wait("all are adopted", lambda: int(rig.run(_NODE, *count)) >= known + wanted, 120)
    took = time.monotonic() - begun
    return len(before & pids(rig)), took


def pids(rig: Rig) -> set[str]:
    """Return the first process of each box, as its node has noted it."""
    look = "grep -Eo '\"pid\": ?[0-9]+' /run/pltfrms/instances/box*.json"
    return set(rig.run(_NODE, "sh", "-c", look).splitlines())


def ready_boxes(rig: Rig) -> int:
    """Return how many of them serve."""
    every = rig.snapshot().statuses[_NODE].instances
    boxes = (each for each in every if each.allocation.startswith("box"))
    return sum(each.phase is Phase.READY for each in boxes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with running_rig("boxes", _EXAMPLE) as rig:
        found = measure(rig, asked.services, asked.replicas)
    if asked.json:
        print(json.dumps(asdict(found)))
        return
    print(
        f"{found.instances} containers of {found.images} images on one node ({machine_words()})"
    )
    print(f"first ready after {found.first_seconds} s, all after {found.ready_seconds} s")
    print(f"{found.pulls} pulls, {found.restarts} restarts")
    print(f"{found.adopted} adopted by the next agent, after {found.adopted_seconds} s")


if __name__ == "__main__":
    main()
