"""The layers: imports point down, deciding is pure, outside libraries have their doors."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUN = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_imports_keep_the_contracts() -> None:
    """The contracts are in pyproject.toml; `make check` runs the same."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
