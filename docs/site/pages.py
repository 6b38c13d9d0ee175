"""What the site has beside the pages of docs/: made from the code that it tells of.

Run as `python docs/site/pages.py DIRECTORY`, where the directory is a copy of docs/.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import click

from pltfrms.cli.main import cli
from pltfrms.model.running.plan import Reason

ROOT = Path(__file__).parents[2]
_WIDTH = 96
_NAME = re.compile(r"[a-z][a-z0-9_]+")


def commands(group: click.Group = cli, path: str = "pltfrms") -> Iterator[str]:
    """Yield a section for each command: what its `--help` says."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        full = f"{path} {name}"
        if isinstance(command, click.Group):
            yield from commands(command, full)
        elif command:
            inner = click.Context(command, info_name=full, max_content_width=_WIDTH)
            yield f"## `{full}`\n\n```text\n{command.get_help(inner)}\n```\n"


def metrics() -> dict[str, str]:
    """Return what each metric says, by name.

    In the modules that tell metrics, that is a word with a sentence after it, as arguments of a
    call or parts of a tuple.
    """
    found: dict[str, str] = {}
    for module in sorted(ROOT.glob("src/pltfrms/**/*metrics.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            values = getattr(node, "args", None) or getattr(node, "elts", None)
            texts = [
                str(getattr(value, "value", ""))
                for value in (values if isinstance(values, list) else [])
            ]
            for name, text in pairwise(texts):
                if _NAME.fullmatch(name) and text.endswith("."):
                    found[f"pltfrms_{name.removeprefix('pltfrms_')}"] = text
    return found


def written() -> dict[str, str]:
    """Return the pages, by their path in the site."""
    made = "This page is made from the code."
    reasons = {reason.value: reason.sentence for reason in Reason}
    return {
        "reference/commands.md": f"# What every command says\n\n{made} By what you want to"
        " do: [commands](../cli.md).\n\n" + "\n".join(commands()),
        "reference/metrics.md": f"# Metrics\n\n{made} What to be woken by:"
        f" [alerts](../alerts.md).\n\n{_table('metric', dict(sorted(metrics().items())))}",
        "reference/reasons.md": f"# Reasons\n\n{made} Plans, events, logs, metrics and"
        " `explain` have the same word for the same reason:"
        f" [how it decides](../how-it-decides.md).\n\n{_table('reason', reasons)}",
        "adr/index.md": "# Decisions\n\n```{toctree}\n:glob:\n:maxdepth: 1\n\n0*\n```\n",
    }


def _table(what: str, rows: Mapping[str, str]) -> str:
    lines = [f"| `{name}` | {text} |\n" for name, text in rows.items()]
    return f"| {what} | says |\n|---|---|\n{''.join(lines)}"


def without_links_out(text: str, depth: int) -> str:
    """Return a page whose links out of docs/ are the path that they lead to.

    `depth` is how many directories the page is below docs/.
    """
    up = r"(?:\.\./)" + f"{{{depth + 1}}}"
    out = re.compile(r"(?<!!)\[([^]]+)\]\(" + up + r"([^)#.][^)#]*)[^)]*\)")
    return out.sub(lambda found: f"{found[1]} (`{found[2]}`)", text)


def main(site: Path) -> None:
    """Write the pages, and let what is not in the site be no link."""
    for path, text in written().items():
        (site / path).write_text(text)
    for page in site.rglob("*.md"):
        depth = len(page.relative_to(site).parts) - 1
        page.write_text(without_links_out(page.read_text(), depth))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
