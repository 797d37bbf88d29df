"""Bodies that are kept for byte ranges."""

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from market_data import body_store
from market_data.body_store import Body, BodyStore, Draft, Record

KEYS = [f"{number:032x}" for number in range(10)]


def body(tag: str, size: int = 100) -> Body:
    return Body(tag, size, settled=False, headers=[])


def being_read(*sent: range, at: float = 0) -> Record:
    """Return the record of a body that was created and partly read at a time."""
    record = Record()
    record.replace(body("a"), at)
    record.begin_read(at)
    for part in sent:
        record.add_sent(part, at)
    return record


def test_reads_share_a_body_for_a_moment():
    record = being_read(range(100))
    assert [record.may_share(now) for now in (0, 1.9, 2)] == [True, True, False]


def test_reads_share_a_body_that_is_being_read_for_half_a_minute():
    record = being_read(range(50))
    assert [record.may_share(now) for now in (1, 2)] == [True, False]  # the read has ended, or waits
    for now in range(30):
        assert record.may_share(now)
        record.add_sent(range(10, 20), now)
    assert not record.may_share(30)


@pytest.mark.parametrize("sent", [[range(100)], [range(4, 100)], [range(50), range(40, 100)], [range(60, 100), range(60)]])
def test_a_read_has_ended_once_all_bytes_were_sent(sent: list[range]):
    record = being_read(*sent)
    assert not record.is_being_read(0)
    record.begin_read(1)
    assert record.is_being_read(1)


@pytest.mark.parametrize("sent", [[], [range(99)], [range(50), range(51, 100)], [range(90, 100)]])
def test_a_read_goes_on_until_all_bytes_were_sent(sent: list[range]):
    assert being_read(*sent).is_being_read(1)


def test_ranges_are_ambiguous_after_a_body_was_replaced_that_was_being_read():
    record = being_read(range(50))
    record.replace(body("b"), 1)
    assert (record.ambiguous_until, record.sent) == (3, [])
    complete = being_read(range(100))
    complete.replace(body("b"), 1)
    same = being_read(range(50))
    same.replace(body("a"), 1)
    assert complete.ambiguous_until == same.ambiguous_until == 0


def test_bytes_up_to_a_position():
    record = being_read(range(10), range(20, 30), range(10, 15))
    assert record.sent == [(0, 15), (20, 30)]
    assert [record.has_sent_up_to(position) for position in (0, 15, 16, 30)] == [True, True, False, False]
    assert not being_read(range(5, 10)).has_sent_up_to(5)


def fill(draft: Draft, size: int) -> Draft:
    assert draft.add(b"x" * size)
    return draft


async def keep(store: BodyStore, key: str, size: int) -> None:
    async with store.locked(key) as entry:
        entry.record.replace(body("a", size), store.clock())
        entry.keep(fill(store.new_draft(), size)).close()
        entry.save()


async def kept(store: BodyStore, key: str) -> int | None:
    """Return the size of a body; None if there is none."""
    async with store.locked(key) as entry:
        file = entry.open_body()
        if file is None:
            return None
        with file:
            return len(file.read())


def run(folder: Path, test: Callable[[BodyStore], Awaitable[None]]) -> None:
    async def with_store() -> None:
        await test(BodyStore(folder))

    asyncio.run(with_store())


def test_the_least_recently_used_bodies_are_deleted_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(body_store, "MAX_TOTAL_BYTES", 3_000)

    async def test(store: BodyStore) -> None:
        for number, key in enumerate(KEYS[:3]):
            await keep(store, key, 1_000)
            os.utime(tmp_path / f"{key}.body", (0, time.time() - 30 + number))
        async with store.locked(KEYS[0]) as entry:
            entry.save()
        await keep(store, KEYS[3], 1_000)
        assert [await kept(store, key) for key in KEYS[:4]] == [1_000, None, 1_000, 1_000]
        await keep(store, KEYS[4], 2_500)
        assert [await kept(store, key) for key in KEYS[:5]] == [None, None, None, None, 2_500]

    run(tmp_path, test)


def test_bodies_that_nobody_reads_and_drafts_of_killed_workers_are_deleted(tmp_path: Path):
    async def test(store: BodyStore) -> None:
        await keep(store, KEYS[0], 10)
        fill(draft := store.new_draft(), 10).file.close()
        for path in (draft.path, *(tmp_path / f"{KEYS[0]}.{kind}" for kind in ("body", "record"))):
            os.utime(path, (0, time.time() - 61))
        await keep(store, KEYS[1], 10)
        assert [await kept(store, key) for key in KEYS[:2]] == [None, 10]

    run(tmp_path, test)
    assert {path.suffix or path.name[:5] for path in tmp_path.iterdir()} == {".body", ".record", "lock-"}


def test_the_number_of_records_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(body_store, "MAX_RECORDS", 3)

    async def test(store: BodyStore) -> None:
        for key in KEYS:
            await keep(store, key, 10)

    run(tmp_path, test)
    assert 3 <= len(list(tmp_path.glob("*.record"))) <= 4  # the newest one is written after the others are counted


def test_a_draft_has_a_maximum_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(body_store, "MAX_BODY_BYTES", 1_000)
    draft = fill(BodyStore(tmp_path).new_draft(), 1_000)
    assert (draft.add(b"x"), draft.size) == (False, 1_000)
    draft.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_refuses_the_piece(tmp_path: Path):
    draft = fill(BodyStore(tmp_path).new_draft(), 10)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, draft.file.fileno())
    os.close(full)
    assert not draft.add(b"x" * 10)
    draft.close()


def test_one_request_at_a_time_has_an_entry_in_all_workers(tmp_path: Path):
    inside: list[int] = []

    async def read(worker: int, store: BodyStore) -> None:
        async with store.locked(KEYS[0]):
            inside.append(worker)
            await asyncio.sleep(0.01)
            assert inside.pop() == worker
            assert not inside

    async def test(store: BodyStore) -> None:
        await asyncio.gather(*(read(number, BodyStore(tmp_path)) for number in range(5)), read(5, store))

    run(tmp_path, test)


def test_a_lost_folder_is_created_again_and_a_torn_record_is_ignored(tmp_path: Path):
    folder = tmp_path / "bodies"

    async def test(store: BodyStore) -> None:
        await keep(store, KEYS[0], 10)
        shutil.rmtree(folder)
        assert await kept(store, KEYS[0]) is None
        await keep(store, KEYS[0], 10)
        (record,) = folder.glob("*.record")
        record.write_bytes(record.read_bytes()[:-1])
        assert await kept(store, KEYS[0]) is None

    run(folder, test)


def test_a_store_without_shared_folder_creates_one_at_its_first_use():
    async def use() -> Path:
        async with body_store.body_store() as store:
            assert store.folder.exists()
            await keep(store, KEYS[0], 10)
            return store.folder

    assert not asyncio.run(use()).exists()
