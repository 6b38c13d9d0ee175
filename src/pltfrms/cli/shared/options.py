"""What every command shares: the global options, and commands that are imported when used.

Nothing heavy may be imported here: `pltfrms --help` imports this module.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from pltfrms.cli.shared.values import TIMEOUT


@dataclass(slots=True)
class Settings:
    """What the global options say; they may stand before and after the command."""

    lab: str = ""
    """Name of a running lab; empty means the one that runs."""
    controllers: tuple[str, ...] = ()
    """Base URLs of controllers; empty means those of the lab, or this machine's own."""
    context: str = ""
    """Name of a context; empty: the current one, if any is."""
    key: str = ""
    """File of the operator's key; empty: the first of ~/.ssh that the platform knows."""
    timeout_ms: int = 10_000
    """How long a question to controllers may take."""
    debug: bool = False
    """Show a traceback with every error."""


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Write an option into the settings, unless it was not given."""
    if value and parameter.name:
        setattr(context.ensure_object(Settings), parameter.name, value)


_WORDS = (
    (
        ("--lab",),
        "PLTFRMS_LAB",
        "NAME",
        "Talk to this lab, when several run. Environment: PLTFRMS_LAB.",
    ),
    (
        ("--controller", "controllers"),
        "PLTFRMS_CONTROLLERS",
        "URL",
        "Talk to this controller; repeatable. Environment: PLTFRMS_CONTROLLERS.",
    ),
    (
        ("--context",),
        "PLTFRMS_CONTEXT",
        "NAME",
        "Talk to this platform, see `context`. Environment: PLTFRMS_CONTEXT.",
    ),
    (
        ("--key",),
        "PLTFRMS_KEY",
        "FILE",
        "Log in and sign with this SSH key. Environment: PLTFRMS_KEY.",
    ),
)
"""The global options that are words: names, variable, what they are, help."""


def _global_options(*, root: bool) -> list[click.Parameter]:
    """Return the global options; only those of the root are shown and read the environment."""

    def option(*names: str, variable: str, **attributes: Any) -> click.Option:
        return click.Option(
            names,
            envvar=variable if root else None,
            hidden=not root,
            expose_value=False,
            is_eager=True,
            callback=_keep,
            **attributes,
        )

    options = [
        option(*names, variable=variable, metavar=metavar, multiple=metavar == "URL", help=text)
        for names, variable, metavar, text in _WORDS
    ]
    return [
        *options,
        option(
            "--timeout",
            "timeout_ms",
            variable="PLTFRMS_TIMEOUT",
            metavar="DURATION",
            type=TIMEOUT,
            help="Wait so long for controllers.  [default: 10s]  Environment: PLTFRMS_TIMEOUT.",
        ),
        option(
            "--debug",
            variable="PLTFRMS_DEBUG",
            is_flag=True,
            help="Show a traceback with every error. Environment: PLTFRMS_DEBUG=1.",
        ),
    ]


_AFTER_COMMAND = _global_options(root=False)


class Command(click.Command):
    """A command that also takes the global options."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and the global ones that it does not replace."""
        own = super().get_params(ctx)
        taken = {name for parameter in own for name in parameter.opts}
        return [*own, *(each for each in _AFTER_COMMAND if not taken.intersection(each.opts))]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, and its first line of help, known without importing it."""

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used.

    The root group takes the global options from the environment as well.
    """

    command_class = Command

    def __init__(
        self,
        *args: Any,
        entries: Mapping[str, Entry] | None = None,
        root: bool = False,
        **attributes: Any,
    ) -> None:
        """Keep `entries`: name of the command -> where it is."""
        super().__init__(*args, **attributes)
        self.entries = dict(entries or {})
        self._shared_options = _global_options(root=root)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the group's own parameters and the global ones."""
        return [*super().get_params(ctx), *self._shared_options]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the entries."""
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments start with; suggest one for a wrong word."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        rows = [(name, self._first_line(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command without importing any."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=self._first_line(ctx, name)) for name in names]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def _first_line(self, ctx: click.Context, name: str) -> str:
        entry = self.entries.get(name)
        if entry:
            return entry.help
        command = self.get_command(ctx, name)
        return command.get_short_help_str(60) if command else ""
