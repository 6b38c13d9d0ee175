"""How the page of the installation is read."""

from pathlib import Path

import pytest

from tests.machines.page import Act, Step, steps_of

PAGE = (Path(__file__).parents[2] / "docs/install.md").read_text()


def test_commands_have_the_place_that_the_text_before_them_says() -> None:
    page = """Words. On **a1**:

```sh
one
two
```
Cut the power of
**a1**, then give **every machine** its power back. On **a client**, anywhere:

```sh
three
```
"""
    assert steps_of(page) == (
        Step(act=Act.RUN, place="a1", script="one\ntwo\n"),
        Step(act=Act.CUT, place="a1"),
        Step(act=Act.BOOT, place="every machine"),
        Step(act=Act.RUN, place="a client", script="three\n"),
    )


@pytest.mark.parametrize("text", ["", "On **a1** and on **a2**:\n"])
def test_commands_without_one_place_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="where is this run"):
        steps_of(f"{text}```sh\none\n```\n")


def test_a_block_without_a_language_is_refused() -> None:
    with pytest.raises(ValueError, match="no language"):
        steps_of("```\none\n```\n")


def test_the_page_has_each_kind_of_step() -> None:
    assert {each.act for each in steps_of(PAGE)} == set(Act)
