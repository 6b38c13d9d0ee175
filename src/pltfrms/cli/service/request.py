"""`request`: what one operator has asked for, and another one approves."""

import sys

import click

from pltfrms.cli.service.apply import show_preview
from pltfrms.cli.shared.complete import complete_requests
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import echo, good, unix_ms, write_json, write_line, write_table
from pltfrms.cli.shared.routing import WHY, asking_user, show_routing
from pltfrms.cli.shared.signing import approving, key_of, signed
from pltfrms.codec import decode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import ConflictError
from pltfrms.model.durations import short_duration
from pltfrms.model.messages.requests import (
    Approval,
    ChangeRequest,
    RequestReply,
    RequestState,
    Wanted,
    Withdrawal,
    request_id,
)
from pltfrms.planner.changes.two_people import wanted_sentence

_ID = click.argument("request", metavar="ID", shell_complete=complete_requests)
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


@click.group(cls=LazyGroup)
def request() -> None:
    """List and approve what needs two people.

    `guards: {two_people: [...]}` of the platform says what does. Such a change is asked for
    by the command that makes it, signed with the operator's SSH key, and done when another
    operator approves it with theirs.

    Example: pltfrms request list
    """


@request.command("list")
@_JSON
@pass_settings
def list_requests(settings: Settings, *, as_json: bool) -> None:
    """List the requests of the last hours, oldest first.

    Example: pltfrms request list
    """
    requests = connect(settings).requests()
    if as_json:
        write_json(requests, list[ChangeRequest])
        return
    now_ms = unix_ms()
    cells = [
        (
            each.id,
            each.state.value,
            each.by or "-",
            each.closed_by or "-",
            short_duration((each.expires_ms - now_ms) / 1000) if each.expires_ms else "-",
            each.about,
        )
        for each in requests
    ]
    write_table(("id", "state", "by", "closed by", "expires in", "what"), cells)


@request.command("show")
@_ID
@_JSON
@pass_settings
def show_request(settings: Settings, request: str, *, as_json: bool) -> None:
    """Show a request, and what it would do now.

    Example: pltfrms request show 3f2a91c07b5d
    """
    reply = _checked(connect(settings), request)
    if as_json:
        write_json(reply)
        return
    _show(reply)
    if reply.request.state is RequestState.OPEN:
        echo(f"to approve it: {approving(request)}")


@request.command("approve")
@_ID
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
@pass_settings
def approve_request(settings: Settings, request: str, *, yes: bool, as_json: bool) -> None:
    """Approve what another operator asked for, and have it done.

    Shows what it does and asks first; then signs it with your SSH key. Refused if what it
    changes has changed since it was asked for.

    Example: pltfrms request approve 3f2a91c07b5d
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes to approve without asking")
    client = connect(settings)
    found = _checked(client, request)
    if not as_json:
        _show(found)
    if not yes:
        click.confirm("Approve?", abort=True)
    text = found.request.text
    key = key_of(settings, client.snapshot().snapshot.platform.operators)
    reply = client.approve(request, Approval(signature=signed(text, key)))
    if as_json:
        write_json(reply)
        return
    done = reply.preview or reply.reply
    who = f"asked for by {reply.request.by}, approved by {reply.request.closed_by}"
    echo(good(f"done, revision {done.revision if done else 0}: {who}"))


@request.command("withdraw")
@_ID
@WHY
@_JSON
@pass_settings
def withdraw_request(settings: Settings, request: str, why: str, *, as_json: bool) -> None:
    """Close a request without doing it.

    Example: pltfrms request withdraw 3f2a91c07b5d
    """
    said = Withdrawal(by=asking_user(), why=why)
    closed = connect(settings).withdraw(request, said)
    if as_json:
        write_json(closed)
    else:
        echo(good(f"withdrawn: {closed.about}"))


def _checked(client: OperatorClient, request: str) -> RequestReply:
    """Return a request whose text is the one that its id is of."""
    reply = client.requested(request)
    if request_id(reply.request.text) != request:
        raise ConflictError(
            f"the controller's text of {request} has another id: do not sign it"
        )
    return reply


def _show(reply: RequestReply) -> None:
    request, now_ms = reply.request, unix_ms()
    wanted = decode(Wanted, request.text)
    write_line(f"{request.id}: {wanted_sentence(wanted)}")
    ago = short_duration((now_ms - request.at_ms) / 1000)
    left = short_duration((request.expires_ms - now_ms) / 1000)
    closed = f" by {request.closed_by}" if request.closed_by else f", expires in {left}"
    write_line(f"asked for by {request.by} {ago} ago; {request.state.value}{closed}")
    if reply.preview and wanted.change:
        show_preview(reply.preview, wanted.change.despite)
    if reply.reply and wanted.intervention:
        despite = wanted.intervention.despite
        show_routing(reply.reply.routing, reply.reply.verdicts, despite, reply.reply.doubts)
