"""`metrics`: let somebody read metrics, and nothing else."""

import re
from pathlib import Path

import click

from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import echo, write_json_line
from pltfrms.errors import UsageError
from pltfrms.model.network.readers import MARK, fingerprint

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_TOKEN_BYTES = 32


@click.group(cls=LazyGroup)
def metrics() -> None:
    """Let somebody read metrics, and nothing else.

    Example: pltfrms metrics token prometheus --file prometheus.token
    """


@metrics.command("token")
@click.argument("name")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the token is written, for your eyes alone; must not be there.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def token(_settings: Settings, name: str, path: Path, *, as_json: bool) -> None:
    """Make a token for who reads metrics, such as a Prometheus.

    Prints what to write into `platform.yaml`: the token is good from when that is applied, at
    every controller and machine, until it stands there no more. No controller is asked.

    Example: pltfrms metrics token prometheus --file prometheus.token
    """
    import secrets  # noqa: PLC0415 - 10 ms, which no help needs

    from pltfrms.drivers.private import replace_file  # noqa: PLC0415 - as above

    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name: a small letter, then small letters, digits, -")
    if path.exists():
        raise UsageError(f"{path} is there already; it may be a token that somebody uses")
    made = f"{MARK}.{secrets.token_hex(_TOKEN_BYTES)}"
    replace_file(path, made.encode())
    shown = fingerprint(made)
    if as_json:
        import json  # noqa: PLC0415 - as above

        write_json_line(json.dumps({"name": name, "sha256": shown}, indent=2))
        return
    echo(f"metrics:\n  readers:\n    {name}: {shown}")
    echo(f"write that into platform.yaml and apply it; {path} has the token", err=True)
