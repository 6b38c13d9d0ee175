"""Backups in a bucket: only rightly signed, only to whom our authorities vouch for."""

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pltfrms.api.store.backing_up import BUCKET, CERTIFICATE, OUTSIDE, backups_of
from pltfrms.drivers.backup.ports import BackupName, checksum_of
from pltfrms.drivers.backup.s3 import S3Place
from pltfrms.drivers.backup.s3_file import read_s3_bucket
from pltfrms.drivers.backup.s3_signing import SignedQuestion
from pltfrms.drivers.backup.sealing import make_key
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.memory import MemoryStore, MemoryStoreState
from pltfrms.errors import UnavailableError, UsageError
from tests.contracts.buckets import Bucket, serving
from tests.simulation.virtual import VirtualClock

SEALED = "sealed\n" * 20_000


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    with serving(tmp_path) as found:
        yield found


def place_of(served: Bucket, tmp_path: Path, **other: object) -> S3Place:
    return S3Place(read_s3_bucket(served.file(tmp_path / "backup.s3", **other)))


def name_of(taken_ms: int, platform: str = "example") -> BackupName:
    return BackupName(taken_ms, 42, checksum_of(SEALED), platform)


def test_signatures_are_those_of_the_published_examples() -> None:
    """Of Amazon's page on signatures in headers, with its bucket and its key."""
    empty = hashlib.sha256(b"").hexdigest()
    common = {"host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z"}
    written = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    put = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
    for method, path, query, headers, digest, signature in (
        ("GET", "/test.txt", {}, {"range": "bytes=0-9"}, empty, "f0e8bdb87c964420e857bd35"),
        ("PUT", "/test$file.text", {}, put, written, "98ad721746da40c64f1a55b78f14c238"),
        ("GET", "/", {"lifecycle": ""}, {}, empty, "fea454ca298b7da1c68078a5d1bdbfbb"),
        ("GET", "/", {"prefix": "J", "max-keys": "2"}, {}, empty, "34b48302e7b5fa45bde8084f"),
    ):
        question = SignedQuestion(
            method=method,
            path=path,
            query=query,
            headers=common | headers | {"x-amz-content-sha256": digest},
            content_hash=digest,
        )
        said = question.authorization(
            "us-east-1",
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        )
        assert f"Signature={signature}" in said, path


def test_a_backup_is_in_the_bucket_and_may_be_sent_again(
    bucket: Bucket, tmp_path: Path
) -> None:
    place = place_of(bucket, tmp_path, prefix="of-us/a_b-c")

    async def story() -> None:
        await place.send(name_of(1), SEALED)
        await place.send(name_of(1), SEALED)  # as after an answer that was lost

    asyncio.run(story())
    assert bucket.kept == {f"of-us/a_b-c{name_of(1)}": SEALED.encode()}
    assert bucket.refused == []


@pytest.mark.parametrize("lists_all", [False, True])
def test_so_many_stay_as_is_said_and_what_is_not_ours_stays(
    bucket: Bucket, tmp_path: Path, *, lists_all: bool
) -> None:
    bucket.lists_all = lists_all
    others = ["x/notes.txt", f"x/{name_of(1, 'example2')}", "x/example.not.a.backup"]
    bucket.kept = dict.fromkeys(others, b"")
    place = place_of(bucket, tmp_path, prefix="x/", keep=3)
    everything = place_of(bucket, tmp_path, prefix="y/")

    async def story() -> None:
        for taken_ms in (5, 30, 4, 6, 10_000, 200):
            await place.send(name_of(taken_ms), SEALED)
            await everything.send(name_of(taken_ms), SEALED)
        assert [each.taken_ms for each in await place.names("example")] == [30, 200, 10_000]
        assert len(await everything.names("example")) == 6

    asyncio.run(story())
    assert set(others) <= set(bucket.kept)
    assert bucket.refused == []


def test_what_was_sent_just_now_stays_whatever_clocks_said_before(
    bucket: Bucket, tmp_path: Path
) -> None:
    place = place_of(bucket, tmp_path, keep=2)

    async def story() -> None:
        for taken_ms in (90_001, 90_002, 90_003, 1, 2):
            await place.send(name_of(taken_ms), SEALED)
        assert [each.taken_ms for each in await place.names("example")] == [2, 90_002, 90_003]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"secret": "another"}, "answers 403: SignatureDoesNotMatch: so it is"),
        ({"region": "us-east-1"}, "SignatureDoesNotMatch"),
        ({"key": "ANOTHER"}, "InvalidAccessKeyId"),
        ({"bucket": "another"}, "NoSuchBucket"),
        ({"endpoint": "https://127.0.0.1:1"}, "nobody to connect to"),
        ({"style": "host"}, "nobody to connect to"),
    ],
)
def test_what_is_refused_is_told_and_not_kept(
    bucket: Bucket, tmp_path: Path, other: dict[str, str], why: str
) -> None:
    with pytest.raises(UnavailableError, match=why):
        asyncio.run(place_of(bucket, tmp_path, **other).send(name_of(1), SEALED))
    assert bucket.kept == {}


def test_a_clock_that_is_wrong_is_told(bucket: Bucket, tmp_path: Path) -> None:
    account = read_s3_bucket(bucket.file(tmp_path / "backup.s3"))
    place = S3Place(account, lambda: datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(UnavailableError, match="RequestTimeTooSkewed"):
        asyncio.run(place.send(name_of(1), SEALED))


def test_a_place_that_our_authorities_do_not_know_gets_nothing(
    bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with serving(tmp_path / "other") as other:
        place = place_of(bucket, tmp_path, ca=other.ca)
        with pytest.raises(UnavailableError, match="its certificate is not accepted here"):
            asyncio.run(place.send(name_of(1), SEALED))
        elsewhere = bucket.endpoint.replace("127.0.0.1", "localhost")
        place = place_of(bucket, tmp_path, endpoint=elsewhere)
        with pytest.raises(UnavailableError, match="not accepted here: Hostname mismatch"):
            asyncio.run(place.send(name_of(1), SEALED))
    assert bucket.kept == {}
    with pytest.raises(UsageError, match="no certificates"):
        place_of(bucket, tmp_path, ca=tmp_path / "gone.crt")


def test_a_file_that_is_wrong_says_all_of_it_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "backup.s3"
    path.write_text(
        "# ours\n\nendpoint: http://plain.example.net\nbukket: b\nregion: a b\n"
        "secret: with a space\nsecret: twice\nkeep: 0\nstyle\n"
    )
    path.chmod(0o600)
    with pytest.raises(UsageError) as error:
        read_s3_bucket(path)
    said = str(error.value)
    for word in (
        "line 3: endpoint must be https://HOST",
        "line 4: begin with one of: endpoint, bucket, key",
        "line 5: region must be a region",
        "line 6: secret must be its secret",
        "line 7: secret is said twice",
        "line 8: keep must be how many",
        "line 9: begin with one of",
        "bucket is missing: the name of a bucket",
        "key is missing",
    ):
        assert word in said
    assert "with a space" not in said
    assert "twice;" in said


@pytest.mark.parametrize("endpoint", ["https://s3.example.net:99999", "https://[1:2]"])
def test_an_address_that_cannot_be_keeps_no_controller_from_starting(
    bucket: Bucket, tmp_path: Path, endpoint: str
) -> None:
    (tmp_path / CERTIFICATE).touch()
    bucket.file(tmp_path / BUCKET, endpoint=endpoint)
    clock = VirtualClock()
    store = MemoryStore(clock, MemoryStoreState(clock))
    backups = backups_of(store, "fra-c1", Directories(config=tmp_path))
    assert backups is not None
    assert backups._outside is not None
    with pytest.raises(UnavailableError, match=r"backup\.s3: .* is no address"):
        asyncio.run(backups._outside.send(name_of(1), SEALED))


def test_a_file_that_others_may_read_is_not_used(bucket: Bucket, tmp_path: Path) -> None:
    path = bucket.file(tmp_path / "backup.s3")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_s3_bucket(path)
    assert bucket.secret not in repr(read_s3_bucket(bucket.file(path)))


def test_every_place_outside_is_tried_whatever_becomes_of_the_others(
    bucket: Bucket, tmp_path: Path
) -> None:
    async def story() -> None:
        _, certificate = await make_key(tmp_path, "example")
        certificate.rename(tmp_path / CERTIFICATE)
        (tmp_path / OUTSIDE).write_text("no place")
        bucket.file(tmp_path / BUCKET)
        clock = VirtualClock()
        store = MemoryStore(clock, MemoryStoreState(clock))
        backups = backups_of(store, "fra-c1", Directories(config=tmp_path))
        assert backups is not None
        assert backups._outside is not None
        with pytest.raises(UnavailableError, match=r"backup\.sftp: 'no place' is no place"):
            await backups._outside.send(name_of(1), SEALED)

    asyncio.run(story())
    assert list(bucket.kept) == [str(name_of(1))]
