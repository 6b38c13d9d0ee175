"""What every lab of a shape keeps: the nearest answers, and only what is ours leaves."""

import re
import subprocess
from ipaddress import ip_network

from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.lab.client.client import LabClient
from pltfrms.lab.client.ready import ReadyReport
from pltfrms.model.addresses import Prefix
from pltfrms.model.network.asns import own_asns
from pltfrms.model.network.lab import Daemon
from tests.shapes.asking import ask_from_every_instance, everybody_answers
from tests.shapes.shapes import Shape

_BIRDC = ("birdc", "-s", "/run/pltfrms/bird.ctl")


def check_answers(shape: Shape, client: LabClient, ready: ReadyReport) -> None:
    """See that every client was answered by its nearest, and hears only what is ours.

    (If a service does not run there, by any that has it.) And that each instance that may ask
    is answered at the addresses that it is promised.
    """
    assert shape.lab is not None
    with OperatorClient(client.controller_endpoints()) as operator:
        snapshot = operator.snapshot().snapshot
    where: dict[str, set[str]] = {}
    for each in snapshot.allocations.values():
        where.setdefault(each.service, set()).add(each.datacenter)
    nearest = {eyeball.name: eyeball.nearest for eyeball in shape.lab.eyeballs}
    assert {answer.eyeball for answer in ready.answers} == set(nearest)
    for answer in ready.answers:
        running = where[answer.service]
        assert answer.datacenter in ({nearest[answer.eyeball]} & running or running), answer
    with everybody_answers(client, shape.lab):
        asked = ask_from_every_instance(client, shape.lab, snapshot)
    assert bool(asked) is any(each.unicast for each in shape.platform.aggregates)
    asns = set(map(str, own_asns(shape.platform).values()))
    ours = {aggregate.prefix for aggregate in shape.platform.aggregates}
    heard = {
        prefix
        for name in shape.lab.machines
        if shape.lab.daemon(name) is Daemon.BIRD
        for prefix in _heard_of_us(client, name, asns)
    }
    customers = {each.prefix for peer in shape.platform.peers for each in peer.allowed}
    assert ours <= heard <= ours | customers


def _heard_of_us(client: LabClient, machine: str, asns: set[str]) -> set[Prefix]:
    """Return the prefixes that a network outside has from an AS of ours, by any way."""
    argv = client.exec_argv(machine, [*_BIRDC, "show route all"])
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    found: set[Prefix] = set()
    prefix = ""
    for line in shown.splitlines():
        begin = re.match(r"([0-9a-f.:]+/[0-9]+) ", line)
        prefix = begin.group(1) if begin else prefix
        path = re.search(r"BGP\.as_path: ([0-9 ]+)", line)
        if path and asns.intersection(path.group(1).split()):
            found.add(ip_network(prefix))
    return found
