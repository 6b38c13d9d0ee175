"""`make-secret` makes a file that edges accept, once."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pltfrms.cli.network.secret import make_secret
from pltfrms.drivers.wireguard.kernel import read_secret
from pltfrms.errors import ConflictError, UsageError


def test_a_new_secret_is_accepted_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "backbone.secret"
    done = CliRunner().invoke(make_secret, ["--output", str(file)])
    assert done.exit_code == 0
    assert "every edge" in done.output
    secret = read_secret(file)
    assert secret.decode() not in done.output
    again = CliRunner().invoke(make_secret, ["--output", str(file)])
    assert isinstance(again.exception, ConflictError)
    assert read_secret(file) == secret


def test_a_place_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(make_secret, ["--output", str(tmp_path / "no" / "file")])
    assert isinstance(done.exception, UsageError)


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [("x" * 40, 0o640, "owner alone"), ("x" * 31 + "\n", 0o600, "at least 32")],
)
def test_a_secret_that_is_none_is_refused(
    tmp_path: Path, text: str, mode: int, why: str
) -> None:
    file = tmp_path / "backbone.secret"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(UsageError, match=why):
        read_secret(file)
    with pytest.raises(UsageError, match="make-secret"):
        read_secret(tmp_path / "missing")
