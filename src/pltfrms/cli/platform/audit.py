"""`audit`: what operators did, and whether anybody has changed the record of it."""

from pathlib import Path

import click

from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import good, moment_text, write_json, write_line
from pltfrms.codec import decode, decode_fully, encode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import ConflictError
from pltfrms.model.messages.audit import (
    AuditPage,
    AuditRecord,
    breaks,
    differences,
)

_PAGE = 500
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_EXPORT = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=LazyGroup)
def audit() -> None:
    """Show what operators did, and prove it.

    Each change of intent is written down in the same transaction, with the hash of the record
    before it. Controllers keep the last 2000 records.

    Example: pltfrms audit list
    """


@audit.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="At most this many of the last records.",
)
@_JSON
@pass_settings
def list_records(settings: Settings, *, limit: int, as_json: bool) -> None:
    """Show what was done last: when, who, from where, why.

    Example: pltfrms audit list --limit 10
    """
    found = _all(connect(settings)).records[-limit:]
    if as_json:
        write_json(found, tuple[AuditRecord, ...])
        return
    for record in found:
        write_line(_line(record))
        for line in record.lines:
            write_line(f"    {line}")


@audit.command("verify")
@click.option(
    "--against", type=_EXPORT, help="A file of `audit export`: are they still the same?"
)
@pass_settings
def verify(settings: Settings, *, against: Path | None) -> None:
    """Check that no record was changed or taken out.

    Whoever can write into the store can write all records anew: only a file that was exported
    before, and kept elsewhere, tells. Exit code 4 if anything is wrong.

    Example: pltfrms audit verify --against audit.jsonl
    """
    page = _all(connect(settings))
    found = breaks(page.records, page.head)
    if against:
        lines = against.read_bytes().splitlines()
        kept = [decode_fully(AuditRecord, line) for line in lines]
        found += differences(kept, page.records)
    if found:
        raise ConflictError("; ".join(found))
    first = f"{page.records[0].number} to {page.records[-1].number}" if page.records else "none"
    write_line(good("all is well: ") + f"records {first}, last hash {page.head.hash or '-'}")


@audit.command("export")
@click.argument("file", type=_EXPORT)
@pass_settings
def export(settings: Settings, file: Path) -> None:
    """Add to a file what it has not: one JSON document per line.

    Example: pltfrms audit export /var/backups/audit.jsonl
    """
    lines = file.read_bytes().splitlines() if file.exists() else []
    last = decode(AuditRecord, lines[-1]).number if lines else 0
    page = _all(connect(settings))
    new = [record for record in page.records if record.number > last]
    with file.open("ab") as target:
        target.writelines(encode(record) + b"\n" for record in new)
    write_line(good("exported ") + f"{len(new)} records, {len(lines) + len(new)} in {file}")


def _all(client: OperatorClient) -> AuditPage:
    found: list[AuditRecord] = []
    while True:
        page = client.audit(found[-1].number if found else 0, _PAGE)
        found += page.records
        if len(page.records) < _PAGE:
            return AuditPage(records=tuple(found), head=page.head)


def _line(record: AuditRecord) -> str:
    by = record.by or "somebody"
    how = f" ({record.proved})" if record.proved else ""
    second = f", approved by {record.approved_by}" if record.approved_by else ""
    origin = f" from {record.origin}" if record.origin else ""
    why = f": {record.why}" if record.why else ""
    clock = moment_text(record.at_ms)
    return f"{record.number:>6}  {clock}  {record.what} by {by}{how}{second}{origin}{why}"
