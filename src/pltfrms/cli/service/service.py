"""`service list`, `show`, `history`, `diff`, `delete`; more of them are beside it."""

import sys
from collections.abc import Mapping
from difflib import unified_diff

import click

from pltfrms.cli.service.apply import show_preview
from pltfrms.cli.service.scale import scale
from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.connect import connect, look
from pltfrms.cli.shared.options import Entry, LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import (
    bad,
    echo,
    good,
    moment_text,
    write_json,
    write_line,
    write_table,
)
from pltfrms.cli.shared.routing import WHY, asking_user
from pltfrms.cli.shared.rows import show_services
from pltfrms.errors import NotFoundError
from pltfrms.model.messages.api import ServiceVersion
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service
from pltfrms.seen.summary import (
    ReplicaRow,
    ServiceDetail,
    ServiceRow,
    ordered_services,
    replica_rows,
    service_row,
)

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_NAME = click.argument("name", shell_complete=complete_services)


ENTRIES = {
    "exec": Entry("pltfrms.cli.service.exec", "exec_command", "Run a command in an instance"),
    "expand": Entry(
        "pltfrms.cli.service.expand", "expand", "Write the service that a file means"
    ),
    "logs": Entry("pltfrms.cli.service.logs", "logs", "Show what instances of a service said"),
    "restart": Entry(
        "pltfrms.cli.service.restart", "restart", "Restart every replica, by stages"
    ),
}


@click.group(cls=LazyGroup, entries=ENTRIES)
def service() -> None:
    """List, compare, scale, restart, delete services.

    Example: pltfrms service show web
    """


service.add_command(scale)


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
        echo("no service; try: pltfrms apply FILE")


@service.command("show")
@_NAME
@click.option("--spec", "as_spec", is_flag=True, help="Write its spec file instead.")
@_JSON
@pass_settings
def show_service(settings: Settings, name: str, *, as_spec: bool, as_json: bool) -> None:
    """Show a service and each of its replicas.

    Example: pltfrms service show web

    To apply the spec that --spec writes changes nothing: pltfrms service show web --spec
    """
    if as_spec:
        snapshot = look(settings, as_json=False)
        echo(_spec_text(snapshot.service(name)), nl=False)
        return
    detail = _detail(look(settings, as_json=as_json), name)
    if as_json:
        write_json(detail)
        return
    show_services((detail.service,))
    echo()
    columns = ("replica", "allocation", "node", "state", "version", "restarts", "address")
    write_table((*columns, "last"), [_replica_cells(row) for row in detail.replicas])


@service.command("history")
@_NAME
@_JSON
@pass_settings
def show_history(settings: Settings, name: str, *, as_json: bool) -> None:
    """Show the last 20 versions of a service.

    Example: pltfrms service history web
    """
    history = connect(settings).history(name)
    if as_json:
        write_json(history)
        return
    columns = ("version", "accepted", "by", "why", "what became of it")
    failed = {each.version: each.cause for each in history.versions[0].service.failed}
    write_table(columns, [_version_cells(each, failed) for each in history.versions])
    for problem in history.problems:
        write_line(bad(problem))


@service.command("diff")
@_NAME
@click.argument("old", type=click.IntRange(min=1))
@click.argument("new", type=click.IntRange(min=1), required=False)
@_JSON
@pass_settings
def show_difference(
    settings: Settings, name: str, old: int, new: int | None, *, as_json: bool
) -> None:
    """Show what differs between two versions of a service.

    NEW is the present one if it is left out.

    Example: pltfrms service diff web 3 4
    """
    kept = connect(settings).history(name).versions
    versions = {each.service.version: each for each in kept}
    pair = (old, kept[0].service.version if new is None else new)
    for number in pair:
        if number not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise NotFoundError(f"no version {number} of {name} is kept; there are: {known}")
    if as_json:
        write_json(tuple(versions[each] for each in pair), tuple[ServiceVersion, ...])
        return
    before, after = (_spec_text(versions[each].service).splitlines() for each in pair)
    labels = [f"{name} version {each}" for each in pair]
    for line in unified_diff(before, after, labels[0], labels[1], lineterm=""):
        echo(line)


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
    echo(good(f"deleted, revision {preview.revision}"))


def _spec_text(service: Service) -> str:
    from pltfrms.specfile import service_text  # noqa: PLC0415 - few need it, and it is slow

    return service_text(service.spec)


def _version_cells(version: ServiceVersion, failed: Mapping[int, str]) -> tuple[str, ...]:
    service = version.service
    cause = failed.get(service.version)
    return (
        str(service.version),
        moment_text(service.changed_ms) if service.changed_ms else "-",
        version.by or "-",
        version.why or "-",
        f"failed: {cause}" if cause else "-",
    )


def _detail(snapshot: Snapshot, name: str) -> ServiceDetail:
    found = snapshot.service(name)
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
