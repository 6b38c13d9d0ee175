"""The service of the example, as live tests change it."""

from bench.rig import EXAMPLE


def web_text() -> str:
    """Return its file with a probe that waits longer: what answers late here is the machine."""
    text = (EXAMPLE / "web.yaml").read_text()
    assert "timeout: 300ms" in text
    return text.replace("timeout: 300ms", "timeout: 2s")
