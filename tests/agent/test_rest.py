"""What an agent costs while nothing happens, so that it stays so."""

import subprocess
import sys

import pytest

from bench.agent import measure
from tests.namespaces import in_machine

HEAVY = (
    "httpx2",
    "rich",
    "click",
    "fastapi",
    "uvicorn",
    "ruamel",
    "pltfrms.specfile",
    "pltfrms.controller",
    "pltfrms.api",
    "pltfrms.cli",
    "pltfrms.lab",
)
"""Each of them takes megabytes of every machine for as long as it runs."""
INSTANCES, SECONDS = 20, 15.0
CPU_PERCENT, MEGABYTES = 2.5, 68.0
"""Twice the processor and a tenth more memory than is measured (bench/agent.py)."""


def test_an_agent_imports_no_library_that_it_can_do_without() -> None:
    code = f"import sys, pltfrms.agent.main; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        (sys.executable, "-c", code), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


async def _rests() -> None:
    figures = await measure(INSTANCES, SECONDS)
    assert figures.cpu_percent < CPU_PERCENT, figures
    assert figures.children_percent < CPU_PERCENT / 10, figures
    assert figures.rss_mb < MEGABYTES, figures


@pytest.mark.root
def test_an_agent_at_rest_takes_little_of_a_core_and_of_memory() -> None:
    in_machine(_rests)
