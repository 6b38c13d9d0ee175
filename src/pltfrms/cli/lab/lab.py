"""The group `lab`; its commands are imported when they are used."""

import click

from pltfrms.cli.shared.options import Entry, LazyGroup

ENTRIES = {
    "up": Entry("pltfrms.cli.lab.life", "up", "Start a lab and apply its services"),
    "down": Entry("pltfrms.cli.lab.life", "down", "End a lab; nothing of it stays"),
    "list": Entry("pltfrms.cli.lab.life", "list_labs", "List the running labs"),
    "exec": Entry(
        "pltfrms.cli.lab.look", "execute", "Run a command inside a machine or an instance"
    ),
    "shell": Entry(
        "pltfrms.cli.lab.look", "shell", "Open a shell inside a machine or an instance"
    ),
    "doctor": Entry("pltfrms.cli.lab.look", "doctor", "Say how true to the spec the lab is"),
    "pcap": Entry(
        "pltfrms.cli.lab.look",
        "pcap",
        "Write the packets of a link to a file, until interrupted",
    ),
    "fault": Entry("pltfrms.cli.lab.fault", "fault", "Break something, or list what is broken"),
    "heal": Entry("pltfrms.cli.lab.fault", "heal", "Undo faults: those of TARGET, or all"),
    "boot": Entry(
        "pltfrms.cli.lab.fault", "boot", "Give machines power again, and end their faults"
    ),
    "rewire": Entry(
        "pltfrms.cli.lab.fault",
        "rewire",
        "Add and remove machines and wires",
    ),
    "probe": Entry("pltfrms.cli.lab.probe", "probe", "Measure a service as a client sees it"),
}


@click.group(cls=LazyGroup, entries=ENTRIES)
def lab() -> None:
    """Run datacenters and an internet on this machine.

    When several labs run, --lab NAME or PLTFRMS_LAB says which one is meant.

    Example: pltfrms lab up examples/three-datacenters
    """
