"""`service expand`: what a template in a file stands for."""

from pathlib import Path

import click

from pltfrms.cli.shared.options import Command
from pltfrms.cli.shared.output import echo
from pltfrms.cli.shared.specs import load_file
from pltfrms.errors import UsageError
from pltfrms.model.services.service import ServiceSpec


@click.command(cls=Command)
@click.argument("path", metavar="FILE", type=click.Path(exists=True, path_type=Path))
def expand(path: Path) -> None:
    """Write the service that a file means, without templates.

    It is what would be applied: to apply it instead changes nothing. Offline.

    Example: pltfrms service expand shop-db.yaml
    """
    from pltfrms.specfile import service_text  # noqa: PLC0415 - few need it, and it is slow

    spec = load_file(path, [], None)
    if not isinstance(spec, ServiceSpec):
        raise UsageError(f"{path} is no service")
    echo(service_text(spec), nl=False)
