"""`zone`: what a name server of the platform's domain says."""

from pathlib import Path

import click

from pltfrms.cli.shared.connect import look
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import echo, write_json
from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.services.names import is_domain


@click.command(cls=Command)
@click.argument("name", metavar="[ZONE]", default="")
@click.option(
    "--ns",
    "servers",
    multiple=True,
    metavar="NAME",
    help="A name server; repeatable. By default the services on port 53/udp.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write all zones to ZONE.zone files in this directory, each at once.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def zone(
    settings: Settings,
    name: str,
    servers: tuple[str, ...],
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print the DNS zone of all services.

    As a master file, with the revision of the store as its serial. Without ZONE it is that of
    the platform's domain; others are those of addresses.

    Example: pltfrms zone --ns ns1.example.net

    For a name server: pltfrms zone --output /etc/nsd/zones
    """
    from pltfrms.model.running.balancer import as_balanced  # noqa: PLC0415 - 50 ms
    from pltfrms.model.services.replicas import members_wanted  # noqa: PLC0415 - 50 ms
    from pltfrms.render.instances.zone import Zone, name_servers, render_zones  # noqa: PLC0415 - 50 ms

    for server in servers:
        if not is_domain(server):
            raise UsageError(f"--ns {server}: is no name of a server, such as ns1.example.net")
    snapshot = look(settings, as_json=as_json)
    platform, services = snapshot.platform, snapshot.services.values()
    servers = servers or name_servers(platform, services)
    named = [as_balanced(each, members_wanted(platform, each)) for each in services]
    zones = render_zones(platform, named, snapshot.revision, servers)
    chosen = [each for each in zones if each.name == name] if name else list(zones[:1])
    if not chosen:
        known = ", ".join(each.name for each in zones)
        raise NotFoundError(f"there is no zone {name!r}; there are: {known}")
    if output is not None:
        _write(output, {each.name: each.text for each in (chosen if name else zones)})
    elif as_json:
        write_json(tuple(chosen if name else zones), tuple[Zone, ...])
    else:
        echo(chosen[0].text, nl=False)


def _write(directory: Path, texts: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        unread = directory / f".{name}.new"
        unread.write_text(text)
        unread.replace(directory / f"{name}.zone")
