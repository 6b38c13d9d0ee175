"""Commands that need nothing of the platform: `completion`, `version`."""

import click
from click.shell_completion import get_completion_class

from pltfrms import __version__
from pltfrms.cli.shared.options import Command
from pltfrms.errors import UsageError


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print shell completion code.

    Example: eval "$(pltfrms completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "pltfrms", "_PLTFRMS_COMPLETE").source())


@click.command(cls=Command)
def version() -> None:
    """Print the version.

    Example: pltfrms version
    """
    click.echo(f"pltfrms {__version__}")
