"""Files of a spec are written as it says, text or not, with their modes."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.workload.instance.instance_files import InstanceFiles, fingerprint_of
from pltfrms.errors import UsageError
from pltfrms.planner.instances.instances import instance_spec
from tests.agent.bench import ONE, PLATFORM, WEB
from tests.contracts.test_workload import directories_below
from tests.drivers.workload.test_limits import SPEC

WANTED = replace(
    SPEC,
    files=(("run.sh", "echo é\n"), ("a/plain", "x")),
    binary=(("logo", "iVBORwA="),),
    modes=(("run.sh", 0o755), ("logo", 0o600)),
)


def test_files_have_their_content_and_mode_also_when_they_become_others(
    tmp_path: Path,
) -> None:
    files = InstanceFiles(directories_below(tmp_path))
    place = files.prepare(WANTED)
    for path, content, mode in (
        ("run.sh", "echo é\n".encode(), 0o755),
        ("a/plain", b"x", 0o644),
        ("logo", b"\x89PNG\0", 0o600),
    ):
        assert (place / path).read_bytes() == content
        assert (place / path).stat().st_mode & 0o7777 == mode
    files.prepare(replace(WANTED, modes=()))
    assert (place / "logo").stat().st_mode & 0o7777 == 0o644


def test_variables_are_replaced_in_text_alone() -> None:
    word = "${pltfrms.service}"
    packed = base64.b64encode(word.encode()).decode()
    run = replace(
        WEB.spec.run, files=(("a", word),), binary=(("b", packed),), modes=(("a", 0o755),)
    )
    spec = instance_spec(PLATFORM, replace(WEB, spec=replace(WEB.spec, run=run)), ONE)
    assert (spec.files, spec.binary, spec.modes) == ((("a", "web"),), run.binary, run.modes)


def test_what_leads_out_is_refused_also_if_it_is_no_text(tmp_path: Path) -> None:
    files = InstanceFiles(directories_below(tmp_path))
    with pytest.raises(UsageError, match="is not inside its directory"):
        files.prepare(replace(WANTED, binary=(("../logo", "YQA="),)))
    assert not list(tmp_path.rglob("logo"))


def test_another_content_or_mode_is_another_instance() -> None:
    others = (replace(WANTED, modes=()), replace(WANTED, binary=()), SPEC)
    assert len({fingerprint_of(each) for each in (WANTED, *others)}) == 4
