"""`service list`, `service show`, `service delete`."""

import sys

import click

from pltfrms.cli.platform.status import show_services
from pltfrms.cli.platform.summary import (
    ReplicaRow,
    ServiceDetail,
    ServiceRow,
    ordered_services,
    replica_rows,
    service_row,
)
from pltfrms.cli.service.apply import show_preview
from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.connect import connect, look
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import good, write_json, write_table
from pltfrms.cli.shared.routing import WHY, asking_user
from pltfrms.errors import NotFoundError
from pltfrms.model.running.state import Snapshot

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_NAME = click.argument("name", shell_complete=complete_services)


@click.group(cls=LazyGroup)
def service() -> None:
    """List, show and delete services.

    Example: pltfrms service show web
    """


@service.command("list")
@_JSON
@pass_settings
def list_services(settings: Settings, *, as_json: bool) -> None:
    """List the services and how many of their replicas are ready.

    Example: pltfrms service list
    """
    snapshot = look(settings, as_json=as_json)
    rows = tuple(service_row(snapshot, service) for service in ordered_services(snapshot))
    if as_json:
        write_json(rows, tuple[ServiceRow, ...])
    elif rows:
        show_services(rows)
    else:
        click.echo("no service; try: pltfrms apply FILE")


@service.command("show")
@_NAME
@_JSON
@pass_settings
def show_service(settings: Settings, name: str, *, as_json: bool) -> None:
    """Show a service and each of its replicas.

    Example: pltfrms service show web
    """
    detail = _detail(look(settings, as_json=as_json), name)
    if as_json:
        write_json(detail)
        return
    show_services((detail.service,))
    click.echo()
    columns = ("replica", "allocation", "node", "state", "version", "restarts", "address")
    write_table((*columns, "last"), [_replica_cells(row) for row in detail.replicas])


@service.command("delete")
@_NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@WHY
@_JSON
@pass_settings
def delete_service(
    settings: Settings, name: str, *, yes: bool, why: str, as_json: bool
) -> None:
    """Delete a service: stop its replicas, withdraw its prefixes.

    Example: pltfrms service delete web --yes
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes to delete without asking")
    client = connect(settings)
    detail = _detail(client.snapshot().snapshot, name)
    if not yes:
        many = len(detail.replicas)
        click.confirm(f"Delete {name} and its {many} replicas?", abort=True)
    preview = client.delete_service(name, asking_user(), why)
    if as_json:
        write_json(preview)
        return
    show_preview(preview)
    click.echo(good(f"deleted, revision {preview.revision}"))


def _detail(snapshot: Snapshot, name: str) -> ServiceDetail:
    found = snapshot.services.get(name)
    if found is None:
        known = ", ".join(sorted(snapshot.services)) or "none"
        raise NotFoundError(f"there is no service {name!r}; there are: {known}")
    return ServiceDetail(
        service=service_row(snapshot, found), replicas=replica_rows(snapshot, found)
    )


def _replica_cells(row: ReplicaRow) -> tuple[str, ...]:
    return (
        f"{row.datacenter}.{row.replica}",
        row.allocation or "-",
        row.node or "-",
        row.state,
        str(row.version) if row.version else "-",
        str(row.restarts),
        row.address4 or "-",
        row.detail,
    )
