"""How long commands take to start: version, every kind of help, status, a completion.

What is wanted is judged by the seconds of processor, which others on the machine change little.

python bench/start.py [--json]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import machine_words
from pltfrms.cli.lab.lab import ENTRIES as LAB
from pltfrms.cli.main import ENTRIES
from pltfrms.codec import encode
from pltfrms.model.messages.api import SnapshotView
from tests.cli.world import HEALTHY
from tests.drivers.tiny_http import serving

_HELP_SECONDS, _STATUS_SECONDS, _COMPLETION_SECONDS = 0.25, 0.5, 0.3
_REPETITIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One command line; the best of some runs."""

    command: str
    seconds: float
    cpu_seconds: float
    wanted_seconds: float


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table or JSON; exit code 1 if a command is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    results = list(_measured())
    if arguments.json:
        print(
            json.dumps(
                {"ran_on": machine_words(), "results": [asdict(r) for r in results]}, indent=2
            )
        )
    else:
        print(f"{'command':<32}{'seconds':>9}{'cpu':>7}{'wanted':>8}")
        for r in results:
            name = f"{r.command:<32}"
            print(f"{name}{r.seconds:>9.2f}{r.cpu_seconds:>7.2f}{r.wanted_seconds:>8.2f}")
        print(f"on {machine_words()}")
    sys.exit(any(r.cpu_seconds > r.wanted_seconds for r in results))


def _measured() -> Iterator[Result]:
    yield _best(["version"], _HELP_SECONDS)
    yield _best(["--help"], _HELP_SECONDS)
    for name in ENTRIES:
        yield _best([name, "--help"], _HELP_SECONDS)
    for name in LAB:
        yield _best(["lab", name, "--help"], _HELP_SECONDS)
    view = encode(SnapshotView(controller="fra-c1", snapshot=HEALTHY))
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(view, unix=f"{directory}/c.sock") as server,
    ):
        where = {"PLTFRMS_CONTROLLERS": server.endpoint}
        yield _best(["status"], _STATUS_SECONDS, where)
        words = {"COMP_WORDS": "pltfrms service show ", "COMP_CWORD": "3"}
        completing = {**where, **words, "_PLTFRMS_COMPLETE": "bash_complete"}
        yield _best([], _COMPLETION_SECONDS, completing, "completion of a service")


def _best(
    arguments: Sequence[str],
    wanted_seconds: float,
    environment: Mapping[str, str] | None = None,
    name: str = "",
) -> Result:
    runs = [_run(arguments, environment or {}) for _ in range(_REPETITIONS)]
    return Result(
        command=name or " ".join(arguments),
        seconds=min(seconds for seconds, _ in runs),
        cpu_seconds=min(cpu for _, cpu in runs),
        wanted_seconds=wanted_seconds,
    )


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return how long a command takes, and its share of the processor, in seconds."""
    began, before = time.monotonic(), os.times()
    command = [sys.executable, "-m", "pltfrms", *arguments]
    subprocess.run(command, capture_output=True, check=True, env={**os.environ, **environment})
    spent = os.times()
    cpu = spent.children_user + spent.children_system
    return time.monotonic() - began, cpu - before.children_user - before.children_system


if __name__ == "__main__":
    main()
