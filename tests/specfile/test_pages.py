"""What the pages show is accepted, written into the example with three datacenters."""

import re
from pathlib import Path

import pytest

from pltfrms.specfile.load import load_directory

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "three-datacenters"
SHOWN = (
    ("network/outgoing.md", {0: "platform.yaml", 1: "web.yaml"}),
    ("network/announcing.md", {0: "platform.yaml"}),
    ("network/announcing.md", {1: "platform.yaml"}),
)
"""Page, and which file each of its blocks that are tried together belongs to."""


def with_block(text: str, block: str) -> str:
    """Return a file in which the top keys of a block say what the block says."""
    for key in re.findall(r"^([a-z]+):", block, re.MULTILINE):
        text = re.sub(rf"^{key}:.*\n(?:(?:[ #-].*)?\n)*", "", text, flags=re.MULTILINE)
    return f"{text}\n{block}"


@pytest.mark.parametrize(("page", "blocks"), SHOWN)
def test_what_a_page_shows_is_accepted_as_it_is_written(
    page: str, blocks: dict[int, str], tmp_path: Path
) -> None:
    files = {each.name: each.read_text() for each in EXAMPLE.iterdir()}
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    for index, name in blocks.items():
        files[name] = with_block(files[name], shown[index])
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    load_directory(tmp_path)
