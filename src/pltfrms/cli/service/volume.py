"""`volume`: what replicas have on the disks of nodes, and what may be deleted of it."""

import sys

import click

from pltfrms.cli.shared.complete import complete_services, complete_volumes
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import echo, write_json, write_table
from pltfrms.cli.shared.routing import WHY, asking_user
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.running.volumes import Volume, VolumeState, VolumeStatus
from pltfrms.planner.changes.volumes import give_up_volume, is_on_disk, release_volume, user_of

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_GIB = 2**30


@click.group(cls=LazyGroup)
def volume() -> None:
    """List and release what replicas have on disks.

    A volume outlives instances, versions and its service: nothing deletes it but `release`.

    Example: pltfrms volume list
    """


@volume.command("list")
@click.argument("service", required=False, shell_complete=complete_services)
@_JSON
@pass_settings
def list_volumes(settings: Settings, service: str | None, *, as_json: bool) -> None:
    """List volumes: whose they are, where, and how full.

    Example: pltfrms volume list db
    """
    snapshot = connect(settings).snapshot().last_known
    volumes = [
        each
        for _, each in sorted(snapshot.volumes.items())
        if service in {None, "", each.service}
    ]
    if as_json:
        write_json(volumes, list[Volume])
        return
    cells = [
        (each.id, each.node, state_of(snapshot, each), _used(snapshot, each), _why(each))
        for each in volumes
    ]
    write_table(("volume", "node", "state", "used", "why"), cells)


@volume.command("release")
@click.argument("volume", shell_complete=complete_volumes)
@click.option(
    "--give-up",
    is_flag=True,
    help="Its node is dead, or has it no more: let its replica begin with nothing, elsewhere"
    " or there.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@WHY
@_JSON
@pass_settings
def release(
    settings: Settings, volume: str, why: str, *, give_up: bool, yes: bool, as_json: bool
) -> None:
    """Let a node delete a volume that nobody uses.

    Refused while a replica has it, or is wanted and waits for it. What is deleted is gone.

    Example: pltfrms volume release db.fra.3@1 --why "db has two replicas now"
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes to do it without asking")
    client = connect(settings)
    snapshot = client.snapshot().snapshot
    known = (give_up_volume if give_up else release_volume)(snapshot, volume, why)
    if known == snapshot.volumes[volume]:
        if as_json:
            write_json(known)
        else:
            echo(f"no change: {volume} is {known.state.value} already")
        return
    if not yes:
        where = "elsewhere" if known.state is VolumeState.GIVEN_UP else "there"
        what = f"begins {where} with nothing" if give_up else "is deleted for good"
        whose = known.about if give_up else f"all that is in {volume} on {known.node}"
        click.confirm(f"{whose} {what}. Go on?", abort=True)
    done = client.release_volume(volume, asking_user(), why, give_up=give_up)
    if as_json:
        write_json(done)
    elif done.state is VolumeState.HELD:
        echo(
            f"{volume} is not on the disk of {done.node}: its replica begins there with nothing"
        )
    elif give_up:
        echo(f"{volume} is given up; it stays on {done.node} until it is released")
    else:
        echo(f"{volume} is released: {done.node} deletes it")


def state_of(snapshot: Snapshot, volume: Volume) -> str:
    """Return the state of a volume in words."""
    if volume.state is not VolumeState.HELD:
        return volume.state.value
    if not user_of(snapshot, volume):
        return "kept"
    if snapshot.contact(volume.node) is Contact.LOST:
        return "in use, node lost"
    gone = volume.made and is_on_disk(snapshot, volume) is False
    return "in use, not on its disk" if gone else "in use"


def _used(snapshot: Snapshot, volume: Volume) -> str:
    status = snapshot.statuses.get(volume.node)
    said = status.volumes if status and status.volumes is not None else ()
    found = next((each for each in said if each.volume == volume.id), None)
    return _size(found) if found else "-"


def _size(status: VolumeStatus) -> str:
    if status.bytes is None:
        return "-"
    limited = "" if status.limited else ", no quota"
    return f"{status.bytes / _GIB:.1f} GiB{limited}"


def _why(volume: Volume) -> str:
    return volume.why or "-"
