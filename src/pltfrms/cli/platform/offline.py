"""Commands that talk to nobody and read spec files: `schema`, `render`."""

import json
from pathlib import Path
from typing import Literal, cast

import click

from pltfrms.cli.shared.options import Command
from pltfrms.cli.shared.output import echo
from pltfrms.cli.shared.specs import load_directory, load_platform
from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.network.topology import Platform


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(["platform", "service", "postgres", "job", "lab"]))
@click.option("--markdown", is_flag=True, help="Every key as a page for people.")
def schema(kind: str, *, markdown: bool) -> None:
    """Print the JSON Schema of a spec file.

    Editors use it to complete and check while you type.

    Example: pltfrms schema service > service.schema.json
    """
    from pltfrms.specfile import json_schema, reference  # noqa: PLC0415 - 0.2 s

    known = cast("Literal['platform', 'service', 'postgres', 'job', 'lab']", kind)
    if markdown:
        echo(reference(known), nl=False)
    else:
        echo(json.dumps(json_schema(known), indent=2))


@click.command(cls=Command)
@click.argument("path", metavar="FILE|DIR", type=click.Path(exists=True, path_type=Path))
@click.option("--machine", default="", metavar="NAME", help="Only this machine.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write NAME.conf files to this directory instead of printing.",
)
def render(path: Path, machine: str, output: Path | None) -> None:
    """Write every machine's BIRD configuration.

    Of an edge that others manage: what it needs of FRR.

    Offline: from platform.yaml alone, before any measured cost of a backbone link.

    Example: pltfrms render examples/three-datacenters --output /tmp/bird
    """
    from pltfrms.render.bird import render_bird  # noqa: PLC0415 - as above
    from pltfrms.render.external import render_external  # noqa: PLC0415

    platform = _platform(path)
    machines = [m for m in platform.machines if machine in {"", m.name}]
    if not machines:
        raise NotFoundError(f"there is no machine {machine!r} in {path}")
    for each in machines:
        text = (render_external if each.external else render_bird)(platform, each.name)
        if output is None:
            echo(text if machine else f"# ==== {each.name} ====\n{text}")
            continue
        output.mkdir(parents=True, exist_ok=True)
        (output / f"{each.name}.conf").write_text(text)
    if output is not None:
        echo(f"{len(machines)} files written to {output}")


def _platform(path: Path) -> Platform:
    if path.is_file():
        return load_platform(path)
    platform, _, _ = load_directory(path)
    if platform is None:
        raise UsageError(f"{path} has no file that starts with `platform:`")
    return platform
