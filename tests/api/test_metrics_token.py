"""A token of metrics, by TLS: what it opens, and that it opens nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.identity.tls import client_context, trusting_context
from pltfrms.model.network.readers import MetricsReader, fingerprint
from tests.api import door as doors
from tests.api.door import PLATFORM, Door, believing, serve
from tests.planner.identity.test_access import EVERYTHING, OWN

TOKEN = f"metrics.{'0a' * 32}"


@pytest.mark.parametrize("shown", ["nothing", "a certificate of a node"])
def test_it_opens_metrics_and_nothing_else_whatever_is_shown_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    reader = MetricsReader(name="prometheus", sha256=fingerprint(TOKEN))
    monkeypatch.setattr(doors, "PLATFORM", replace(PLATFORM, readers=(reader,)))

    async def story(door: Door) -> None:
        node = await door.join("fra-n1")
        context = trusting_context(node.read().roots)
        if shown != "nothing":
            context = client_context(node, believing)
        opened = set()
        for method, path in [*EVERYTHING, *OWN, ("GET", "/v1/targets/fra-n1")]:
            answer = await door.ask(context, method, path, token=TOKEN)
            assert answer.status_code in {200, 403, 404}
            if answer.status_code == 200:
                opened.add(path)
        assert opened == {"/metrics", "/v1/prometheus/targets"}
        forged = await door.ask(context, "GET", "/metrics", token=f"{TOKEN}0")
        assert forged.status_code == 403

    serve(tmp_path, story)
