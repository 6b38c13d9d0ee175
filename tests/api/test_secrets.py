"""A secret is given to whom it is promised, and is found nowhere else."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from pltfrms.codec import decode, encode
from pltfrms.controller.records.state import SECRETS_KEY_KEY
from pltfrms.controller.records.values import Values
from pltfrms.drivers.sealing import KeyFile, NodeKey, make_private, public_of
from pltfrms.drivers.store.ports import Condition, Delete, Put
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.audit import AuditPage
from pltfrms.model.messages.secrets import (
    SecretChange,
    SecretReply,
    SecretsKeyChange,
    SecretsKeyReply,
    SecretsKeyring,
    SecretVerb,
    SecretView,
)
from pltfrms.model.network.topology import OperatorRole, Platform
from pltfrms.model.running.plan import Target, TargetNews
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.secrets import Generate, SecretsKey, SecretUse, delivery_words
from pltfrms.model.services.service import ServiceSpec
from tests.api.logins import WITH_ROLES, Desk
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_spec

Story = Callable[[Desk, Path], Awaitable[None]]
WEB = make_spec("web", 1)


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Story], None]:
    """Play a story whose controllers have one key, and whose machines have theirs."""

    def run(story: Story, platform: Platform = WITH_ROLES) -> None:
        async def whole() -> None:
            cluster = Cluster(platform)
            cluster.start()
            for seat in cluster.seats.values():
                seat.controller.values = Values(KeyFile(tmp_path / "controllers"))
            for name, agent in cluster.agents.items():
                (tmp_path / name).mkdir()
                key = NodeKey(tmp_path / name)
                key.make()
                agent.key = key.public
            await cluster.until(lambda: len(cluster.stored().leases) == 15, 10)
            await asyncio.ensure_future(story(Desk(cluster), tmp_path))
            cluster.require_alive()

        run_virtual(whole())

    return run


def using(name: str = "db", spec: ServiceSpec = WEB) -> ServiceSpec:
    uses = (SecretUse(name=name, variable="DB", file="db"),)
    return replace(spec, run=replace(spec.run, secrets=uses))


def wish(value: bytes, verb: SecretVerb = SecretVerb.SET, name: str = "db") -> SecretChange:
    return SecretChange(verb=verb, name=name, value=base64.b64encode(value).decode())


async def target_of(desk: Desk, machine: str, key: str) -> tuple[str, TargetNews]:
    parameters = {"key": key, "made_of": "", "platform": "0"}
    answer = await desk.local.get(f"/v1/targets/{machine}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.text, decode(TargetNews, answer.content)


def placed_on(desk: Desk) -> list[str]:
    return sorted({each.node for each in desk.cluster.stored().allocations.values()})


def traces(value: bytes) -> tuple[bytes, ...]:
    """Return how a value would look in what is not a secret's own: plain, or in base64."""
    shifted = (base64.b64encode(b"\0" * n + value)[4:-4] for n in range(3))
    return (value, *shifted, value.hex().encode(), json.dumps(value.decode()).encode())


def on_disk(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


def test_a_value_is_found_nowhere_but_where_it_is_promised(
    play: Callable[[Story], None], capsys: pytest.CaptureFixture[str]
) -> None:
    values = [f"{uuid4()}{uuid4()}".encode() for _ in range(2)]

    async def story(desk: Desk, directory: Path) -> None:
        said = [await desk.ask("oli", "POST", "/v1/secrets", wish(values[0]))]
        said.append(await desk.ask("oli", "POST", "/v1/apply", Change(services=(using(),))))
        await desk.cluster.until(lambda: bool(placed_on(desk)), 20)
        rotated = wish(values[1], SecretVerb.ROTATE)
        said.append(await desk.ask("oli", "POST", "/v1/secrets", rotated))
        said.append(
            await desk.ask(
                "oli", "POST", "/v1/secrets", replace(rotated, value=f"{rotated.value}!")
            )
        )
        assert [each.status_code for each in said] == [200, 200, 200, 400]
        await desk.cluster.until(lambda: len(desk.cluster.stored().allocations) > 3, 20)
        paths = [
            path + ("?for_ms=1" if path == "/v1/stream" else "")
            for path, verbs in desk.app.openapi()["paths"].items()
            if "get" in verbs and "{" not in path and "identity" not in path
        ]
        assert {"/v1/secrets", "/v1/view"} < {*paths}
        said += [await desk.ask("ada", "GET", path) for path in paths]
        said.append(await desk.ask("ada", "GET", "/v1/services/web/versions"))
        said.append(await desk.ask("ada", "POST", "/v1/plan", Change(services=(using(),))))
        texts = [each.content for each in said]
        for name, agent in desk.cluster.agents.items():
            text, target = await target_of(desk, name, agent.key)
            texts.append(text.encode())
            assert bool(target.secrets) == (name in placed_on(desk))
        listing = await desk.cluster.seats["fra-c1"].store.list("/")
        texts += [each.key.encode() + each.value for each in listing.entries]
        texts += on_disk(directory)
        out, err = capsys.readouterr()
        texts += [out.encode(), err.encode()]
        found = [
            text[:200]
            for text in texts
            for value in values
            for trace in traces(value)
            if trace in text
        ]
        assert found == []

    play(story)


def test_a_node_opens_what_it_runs_and_no_other_can(play: Callable[[Story], None]) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        await desk.ask("oli", "POST", "/v1/secrets", wish(b"one"))
        await desk.ask("oli", "POST", "/v1/apply", Change(services=(using(),)))
        await desk.cluster.until(lambda: bool(placed_on(desk)), 20)
        await desk.cluster.clock.sleep(2)
        node, *others = placed_on(desk)
        _, target = await target_of(desk, node, desk.cluster.agents[node].key)
        [given] = target.secrets
        words = delivery_words(node, "db", 1)
        assert NodeKey(directory / node).open(given.sealed, words) == b"one"
        with pytest.raises(Exception, match="not here"):
            NodeKey(directory / others[0]).open(given.sealed, words)
        silent = await desk.local.get(f"/v1/targets/{node}")
        assert [each.sealed for each in decode(Target, silent.content).secrets] == [""]

    play(story)


def test_rotation_is_a_rollout_and_audited_without_its_value(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        del directory
        await desk.ask("oli", "POST", "/v1/secrets", wish(b"one"))
        again = await desk.ask("oli", "POST", "/v1/secrets", wish(b"two"))
        assert again.status_code == 409
        await desk.ask("oli", "POST", "/v1/apply", Change(services=(using(),)))
        await desk.cluster.until(lambda: bool(placed_on(desk)), 20)
        answer = await desk.ask("oli", "POST", "/v1/secrets", wish(b"two", SecretVerb.ROTATE))
        reply = decode(SecretReply, answer.content)
        assert [line.about for line in reply.changes] == ["secret/db", "service/web"]
        web = desk.cluster.stored().services["web"]
        assert web.version == 2
        assert web.rolling
        refused = await desk.ask("oli", "DELETE", "/v1/secrets/db")
        assert refused.status_code == 409
        assert "is used by web" in refused.text
        views = decode(
            tuple[SecretView, ...], (await desk.ask("vic", "GET", "/v1/secrets")).content
        )
        assert [(each.note.name, each.note.version, each.services) for each in views] == [
            ("db", 2, ("web",))
        ]
        page = decode(AuditPage, (await desk.ask("ada", "GET", "/v1/audit")).content)
        told = [(each.what, each.by) for each in page.records if each.what != "login"]
        assert told == [("secret set", "oli"), ("apply", "oli"), ("secret rotate", "oli")]

    play(story)


def test_a_deployer_has_the_secrets_of_his_services_alone(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        del directory
        for name, code in (("db", 403), ("shop-db", 200)):
            answer = await desk.ask("dan", "POST", "/v1/secrets", wish(b"x", name=name))
            assert answer.status_code == code
        await desk.ask("oli", "POST", "/v1/secrets", wish(b"x"))
        for name, code in (("db", 403), ("shop-db", 200)):
            change = Change(services=(using(name),))
            assert (await desk.ask("dan", "POST", "/v1/apply", change)).status_code == code
            job = Change(jobs=(JobSpec(name="shop-backup", run=using(name).run),))
            assert (await desk.ask("dan", "POST", "/v1/apply", job)).status_code == code

    assert OperatorRole.DEPLOYER in {each.role for each in WITH_ROLES.operators}
    play(story)


def test_the_controllers_key_is_changed_and_who_lacks_it_says_so(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        await desk.ask("oli", "POST", "/v1/secrets", wish(b"one"))
        before = desk.cluster.stored().secrets["db"].sealed(1)
        answer = await desk.ask("ada", "POST", "/v1/secrets-key", SecretsKeyChange())
        assert decode(SecretsKeyReply, answer.content) == SecretsKeyReply(sealed=("db",))
        secret = desk.cluster.stored().secrets["db"]
        assert secret.sealed(1) != before
        newest = Values(KeyFile(directory / "newest"))
        keys = KeyFile(directory / "controllers").read()
        newest.file.add(keys[:1])
        assert newest.opened(secret, 1) == b"one"
        ring = await desk.local.get("/v1/identity/secrets")
        assert decode(SecretsKeyring, ring.content).keys == keys
        lacking = Values(KeyFile(directory / "nothing"))
        assert "cannot open secrets" in lacking.problem(desk.cluster.stored().secrets_key)
        assert not lacking.opens(secret)

    play(story)


def test_a_change_of_the_key_may_break_off_anywhere_and_is_done_again(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        file, store = KeyFile(directory / "controllers"), desk.cluster.seats["fra-c1"].store

        async def give(name: str, verb: SecretVerb = SecretVerb.SET) -> None:
            answer = await desk.ask("oli", "POST", "/v1/secrets", wish(b"one", verb, name))
            assert answer.status_code == 200
            secrets = desk.cluster.stored().secrets.values()
            assert {Values(file).opened(each, each.note.version) for each in secrets} == {
                b"one"
            }

        await give("db")
        file.add((make_private(),))  # the store was not told of it
        await give("db", SecretVerb.ROTATE)
        await give("other")
        said = encode(SecretsKey(public=public_of(file.read()[0])))
        await store.commit([Put(key=SECRETS_KEY_KEY, value=said)], ())
        await give("third")  # and two are still sealed to the key before
        await give("other", SecretVerb.ROTATE)
        answer = await desk.ask("ada", "POST", "/v1/secrets-key", SecretsKeyChange())
        reply = decode(SecretsKeyReply, answer.content)
        assert reply == SecretsKeyReply(sealed=("db", "other", "third"))
        newest = Values(KeyFile(directory / "newest"))
        newest.file.add(file.read()[:1])
        assert all(map(newest.opens, desk.cluster.stored().secrets.values()))

    play(story)


def test_who_changes_the_key_while_another_one_does_seals_nothing_to_his(
    play: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        await desk.ask("oli", "POST", "/v1/secrets", wish(b"one"))
        [theirs, *_] = KeyFile(directory / "controllers").add((make_private(),))
        said = encode(SecretsKey(public=public_of(theirs)))
        store = next(iter(desk.cluster.seats.values())).controller.store
        commit = store.commit

        async def raced(
            writes: Sequence[Put | Delete], conditions: Sequence[Condition]
        ) -> int | None:
            done = await commit(writes, conditions)
            if any(each.key == SECRETS_KEY_KEY for each in writes):
                await commit([Put(key=SECRETS_KEY_KEY, value=said)], ())
            return done

        before = desk.cluster.stored().secrets["db"]
        monkeypatch.setattr(store, "commit", raced)
        answer = await desk.ask("ada", "POST", "/v1/secrets-key", SecretsKeyChange())
        assert (answer.status_code, desk.cluster.stored().secrets["db"]) == (409, before)

    play(story)


def test_no_value_has_a_number_that_one_of_a_deleted_secret_had(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        del directory
        for number in (1, 2):
            await desk.ask("oli", "POST", "/v1/secrets", wish(b"one"))
            assert desk.cluster.stored().secrets["db"].note.version == number
            answer = await desk.ask("oli", "DELETE", "/v1/secrets/db")
            assert answer.status_code == 200
            await desk.ask("ada", "POST", "/v1/secrets-key", SecretsKeyChange())
        await desk.ask("oli", "POST", "/v1/secrets", wish(b"one", name="other"))
        assert desk.cluster.stored().secrets["other"].note.version == 3

    play(story)


def test_nothing_is_sealed_to_a_key_that_is_not_there(play: Callable[[Story], None]) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        lost = encode(SecretsKey(public=public_of(make_private())))
        store = desk.cluster.seats["fra-c1"].store
        assert await store.commit([Put(key=SECRETS_KEY_KEY, value=lost)], ())
        refused = await desk.ask("oli", "POST", "/v1/secrets", wish(b"one"))
        assert refused.status_code == 503
        assert "cannot open secrets" in refused.text
        assert desk.cluster.stored().secrets == {}
        await desk.ask("ada", "POST", "/v1/secrets-key", SecretsKeyChange())
        taken = await desk.ask("oli", "POST", "/v1/secrets", wish(b"one"))
        assert taken.status_code == 200
        keys = Values(KeyFile(directory / "controllers"))
        assert keys.opened(desk.cluster.stored().secrets["db"], 1) == b"one"

    play(story)


def test_a_value_that_nobody_opens_any_more_is_replaced_and_holds_back_nothing_else(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        await desk.ask("oli", "POST", "/v1/secrets", wish(b"one"))
        await desk.ask("oli", "POST", "/v1/secrets", wish(b"kept", name="other"))
        await desk.ask("oli", "POST", "/v1/apply", Change(services=(using(),)))
        await desk.cluster.until(lambda: bool(placed_on(desk)), 20)
        (directory / "controllers").unlink()
        for seat in desk.cluster.seats.values():
            seat.controller.values = Values(KeyFile(directory / "controllers"))
        desk = Desk(desk.cluster)
        key = desk.cluster.agents[placed_on(desk)[0]].key
        wanted = {"key": key, "made_of": "", "platform": "0"}
        refused = await desk.local.get(f"/v1/targets/{placed_on(desk)[0]}", params=wanted)
        assert refused.status_code == 503, "another controller may have the key"
        answer = await desk.ask("ada", "POST", "/v1/secrets-key", SecretsKeyChange())
        assert decode(SecretsKeyReply, answer.content).lost == ("db", "other")
        await desk.cluster.clock.sleep(2)
        [seat, *_] = desk.cluster.seats.values()
        said = seat.controller.problems
        assert any("a value of db, other:" in each for each in said), said
        _, target = await target_of(desk, placed_on(desk)[0], key)
        assert [each.sealed for each in target.secrets] == [""]
        rotated = wish(b"two", SecretVerb.ROTATE)
        assert (await desk.ask("oli", "POST", "/v1/secrets", rotated)).status_code == 200
        await desk.cluster.clock.sleep(2)
        _, target = await target_of(desk, placed_on(desk)[0], key)
        assert [each.version for each in target.secrets if each.sealed] == [2]

    play(story)


def test_a_name_and_a_value_that_cannot_be_are_refused(play: Callable[[Story], None]) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        del directory
        for name in ("", "../x", "X", "a b", "a/b", "a" * 64):
            answer = await desk.ask("ada", "POST", "/v1/secrets", wish(b"x", name=name))
            assert answer.status_code == 400, name
        for value in (b"", b"x" * 65_537):
            answer = await desk.ask("ada", "POST", "/v1/secrets", wish(value))
            assert answer.status_code == 400

    play(story)


def wanting(kind: Generate, name: str = "shop-db") -> ServiceSpec:
    """Return a service with a secret that is made for it."""
    spec = using(name, replace(WEB, name="shop-web"))
    uses = tuple(replace(use, variable="", generate=kind) for use in spec.run.secrets)
    return replace(spec, run=replace(spec.run, secrets=uses))


def test_a_password_is_made_once_by_whoever_applies_and_is_found_nowhere_else(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        change = Change(services=(wanting(Generate.PASSWORD),))
        planned = await desk.ask("dan", "POST", "/v1/plan", change)
        assert "secret/shop-db" in planned.text
        assert desk.cluster.stored().secrets == {}
        said = await asyncio.gather(
            *(desk.ask("dan", "POST", "/v1/apply", change) for _ in range(3))
        )
        assert [each.status_code for each in said] == [200] * 3
        assert sum("secret/shop-db" in each.text for each in said) == 1
        keys = Values(KeyFile(directory / "controllers"))
        value = keys.opened(desk.cluster.stored().secrets["shop-db"], 1)
        assert len(value) == 32
        await desk.cluster.until(lambda: bool(placed_on(desk)), 20)
        await desk.cluster.clock.sleep(2)
        node, *_ = placed_on(desk)
        text, target = await target_of(desk, node, desk.cluster.agents[node].key)
        words = delivery_words(node, "shop-db", 1)
        assert NodeKey(directory / node).open(target.secrets[0].sealed, words) == value
        said.append(await desk.ask("ada", "GET", "/v1/audit"))
        listing = await desk.cluster.seats["fra-c1"].store.list("/")
        texts = [text.encode(), *(each.content for each in said)]
        texts += [each.key.encode() + each.value for each in listing.entries]
        assert [x for x in texts for trace in traces(value) if trace in x] == []
        page = decode(AuditPage, said[-1].content)
        told = [each for each in page.records if each.what == "apply"]
        assert "secret/shop-db" in str(told)

    play(story)


def test_an_authority_signs_and_its_certificate_is_a_secret_of_its_own(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        change = Change(services=(wanting(Generate.AUTHORITY),))
        assert (await desk.ask("oli", "POST", "/v1/apply", change)).status_code == 200
        keys, made = Values(KeyFile(directory / "controllers")), desk.cluster.stored().secrets
        both = keys.opened(made["shop-db"], 1).decode()
        half = keys.opened(made["shop-db-ca"], 1).decode()
        assert "PRIVATE KEY" in both
        assert both.endswith(half)
        assert "PRIVATE KEY" not in half

    play(story)


def test_who_may_not_have_a_secret_has_none_made(play: Callable[[Story], None]) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        del directory
        change = Change(services=(wanting(Generate.PASSWORD, "db"),))
        assert (await desk.ask("dan", "POST", "/v1/apply", change)).status_code == 403
        assert desk.cluster.stored().secrets == {}

    play(story)


def test_nothing_is_made_where_the_controllers_key_is_not(
    play: Callable[[Story], None],
) -> None:
    async def story(desk: Desk, directory: Path) -> None:
        del directory
        lost = encode(SecretsKey(public=public_of(make_private())))
        store = desk.cluster.seats["fra-c1"].store
        assert await store.commit([Put(key=SECRETS_KEY_KEY, value=lost)], ())
        change = Change(services=(wanting(Generate.PASSWORD),))
        refused = await desk.ask("oli", "POST", "/v1/apply", change)
        assert refused.status_code == 503
        assert "shop-web" not in desk.cluster.stored().services

    play(story)
