"""The command `pltfrms`: its commands, and how errors become messages and exit codes."""

import os
import sys
import traceback
from collections.abc import Sequence

import click

from pltfrms import __version__
from pltfrms.cli.shared.options import Entry, LazyGroup, Settings
from pltfrms.errors import PltfrmsError, SpecError, UnavailableError

_EXIT_BUG = 70
_EXIT_INTERRUPTED = 130

ENTRIES = {
    "lab": Entry(
        "pltfrms.cli.lab.lab", "lab", "Run datacenters and an internet on this machine"
    ),
    "plan": Entry(
        "pltfrms.cli.service.apply", "plan", "Show what applying spec files would change"
    ),
    "apply": Entry(
        "pltfrms.cli.service.apply", "apply", "Make the platform what spec files say"
    ),
    "status": Entry(
        "pltfrms.cli.platform.status", "status", "Show how the platform is, on one screen"
    ),
    "ui": Entry("pltfrms.cli.platform.ui", "ui", "Serve the page that shows the platform live"),
    "service": Entry(
        "pltfrms.cli.service.service",
        "service",
        "List, compare, scale, restart, delete services",
    ),
    "rollout": Entry(
        "pltfrms.cli.service.rollout", "rollout", "Watch, pause, end and undo rollouts"
    ),
    "volume": Entry(
        "pltfrms.cli.service.volume", "volume", "List and release what replicas have on disks"
    ),
    "job": Entry("pltfrms.cli.service.job", "job", "Run things once, now or at set times"),
    "secret": Entry(
        "pltfrms.cli.service.secret", "secret", "Give services values that nobody else sees"
    ),
    "network": Entry(
        "pltfrms.cli.network.network",
        "network",
        "Freeze the network, drop attacks, see what is going on",
    ),
    "brake": Entry(
        "pltfrms.cli.platform.brake",
        "brake",
        "Let the replicas of many lost nodes be moved, or not",
    ),
    "peer": Entry(
        "pltfrms.cli.network.peer",
        "peer",
        "List, show and drain the networks that we peer with",
    ),
    "edge": Entry("pltfrms.cli.network.edge", "edge", "List, show and drain edges"),
    "session": Entry("pltfrms.cli.network.session", "session", "List and show BGP sessions"),
    "route": Entry(
        "pltfrms.cli.network.route", "route", "Show routes, and say why they are as they are"
    ),
    "balancer": Entry(
        "pltfrms.cli.network.balancer",
        "balancer",
        "Show how load is spread, and who gets a flow",
    ),
    "catchment": Entry(
        "pltfrms.cli.network.catchment", "catchment", "Show which datacenter answers whom"
    ),
    "node": Entry("pltfrms.cli.machine.machines", "node_commands", "List and drain nodes"),
    "datacenter": Entry(
        "pltfrms.cli.machine.machines", "datacenter_commands", "List and drain datacenters"
    ),
    "request": Entry(
        "pltfrms.cli.service.request", "request", "List and approve what needs two people"
    ),
    "what-if": Entry(
        "pltfrms.cli.service.what_if", "what_if", "Say what would be if something failed"
    ),
    "explain": Entry(
        *("pltfrms.cli.service.explain", "explain"),
        "Say why a service is where it is, or a job runs or waits",
    ),
    "login": Entry(
        "pltfrms.cli.platform.login", "login", "Show who you are, with your SSH key"
    ),
    "logout": Entry("pltfrms.cli.platform.login", "logout", "Forget who you are"),
    "context": Entry(
        "pltfrms.cli.platform.context", "context", "Say which platform is meant, of several"
    ),
    "audit": Entry(
        "pltfrms.cli.platform.audit", "audit", "Show what operators did, and prove it"
    ),
    "vantage": Entry(
        "pltfrms.cli.platform.vantage",
        "vantage",
        "Ask services as clients do, and show who answers whom",
    ),
    "metrics": Entry(
        "pltfrms.cli.platform.readers", "metrics", "Let somebody read metrics, and nothing else"
    ),
    "redundancy": Entry(
        "pltfrms.cli.platform.redundant",
        "redundancy",
        "Say whether one more failure is survived",
    ),
    "events": Entry("pltfrms.cli.platform.events", "events", "Show what happened, and why"),
    "zone": Entry("pltfrms.cli.platform.zone", "zone", "Print the DNS zone of all services"),
    "schema": Entry(
        "pltfrms.cli.platform.offline", "schema", "Print the JSON Schema of a spec file"
    ),
    "render": Entry(
        "pltfrms.cli.platform.offline", "render", "Write every machine's BIRD configuration"
    ),
    "completion": Entry(
        "pltfrms.cli.platform.shell", "completion", "Print shell completion code"
    ),
    "version": Entry("pltfrms.cli.platform.shell", "version", "Print the version"),
    "doctor": Entry(
        "pltfrms.cli.machine.doctor", "doctor", "Check ports and system of this machine"
    ),
    "bootstrap": Entry(
        "pltfrms.cli.machine.identity", "bootstrap", "Begin a platform on its first controller"
    ),
    "machine": Entry(
        "pltfrms.cli.machine.identity",
        "machine",
        "Have machines join, take the place of others, and leave",
    ),
    "join": Entry("pltfrms.cli.machine.identity", "join", "Have this machine join a platform"),
    "agent": Entry("pltfrms.cli.machine.daemons", "agent", "Run this machine's agent"),
    "backup": Entry(
        "pltfrms.cli.machine.backup", "backup", "Keep what is wanted, and put it back"
    ),
    "recover": Entry(
        "pltfrms.cli.machine.recover", "recover", "Recover a store that lost its majority"
    ),
    "upgrade": Entry(
        "pltfrms.cli.platform.upgrading",
        "upgrade",
        "Say which machine gets a newer package next",
    ),
    "controller": Entry("pltfrms.cli.machine.daemons", "controller", "Run a controller"),
    "store": Entry(
        "pltfrms.cli.machine.daemons", "store", "Run this machine's member of the store"
    ),
}

EPILOG = """\b
Exit codes: 0 done or nothing to do, 2 wrong words or spec, 3 changes pending (plan),
            4 conflict, a guard forbids it, or something to do (doctor),
            5 somebody does not answer, 6 a new version went back (apply --wait),
            70 a bug of ours.
The options above may stand before or after a command."""


@click.group(cls=LazyGroup, entries=ENTRIES, root=True, epilog=EPILOG)
@click.version_option(__version__, message="pltfrms %(version)s", help="Print the version.")
def cli() -> None:
    """High availability over several datacenters with your own ASN.

    Example: pltfrms lab up examples/three-datacenters
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Never raises."""
    settings = Settings()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=given, prog_name="pltfrms", standalone_mode=False, obj=settings)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return _EXIT_INTERRUPTED
    except PltfrmsError as error:
        _complain(str(error), error, settings)
        return error.exit_code
    except OSError as error:
        _complain(_os_words(error), error, settings)
        return UnavailableError.exit_code
    except Exception as error:  # noqa: BLE001 - the last door: every bug ends as exit code 70
        what = f"bug: {type(error).__name__}: {error} (--debug shows where)"
        _complain(what, error, settings)
        return _EXIT_BUG
    return code if isinstance(code, int) else 0


def _os_words(error: OSError) -> str:
    """Say what the machine refused: a full disk, a file that may not be written."""
    about = f"{error.filename}: " if error.filename else ""
    return f"{about}{error.strerror or error} (--debug shows where)"


def _complain(message: str, error: BaseException, settings: Settings) -> None:
    """Write an error to stderr; the problems of a spec stand on lines of their own."""
    if settings.debug or os.environ.get("PLTFRMS_DEBUG") == "1":
        traceback.print_exception(error)
    from pltfrms.cli.shared.output import echo  # noqa: PLC0415 - only who has an error

    echo(message if isinstance(error, SpecError) else f"error: {message}", err=True)


if __name__ == "__main__":
    sys.exit(main())
