"""`market-data backup` and `restore`: the restored database equals the original and works."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from helpers.backups import Instance, Instances, contents, fill
from helpers.service import command, error_line, eventually, running
from helpers.sse_client import listening
from helpers.support import SERVER


@pytest.fixture(scope="module")
def instances(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    new_database: Callable[[], AbstractContextManager[str]],
) -> Iterator[Instances]:
    seed = Path() if SERVER else request.getfixturevalue("migrated_seed")
    with Instances(tmp_path_factory.mktemp("instances"), seed, new_database) as instances:
        yield instances


class Saved(NamedTuple):
    instance: Instance
    contents: dict[str, Any]
    file: Path
    version: int
    """Newest version."""


@pytest.fixture(scope="module")
def saved(instances: Instances, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A database with data of every kind, its contents, and its backup."""
    instance = instances.migrated()
    with instance.up() as url, psycopg.connect(url, autocommit=True) as connection:
        fill(connection)
        before = contents(url)
        version = connection.execute("SELECT newest_version()").fetchall()[0][0]
    file = tmp_path_factory.mktemp("backups") / f"market{instance.suffix}"
    ended = command("backup", str(file), **instance.environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{file}: ")
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert file.stat().st_mode & 0o077 == 0
    return Saved(instance, before, file, version)


@pytest.fixture(scope="module")
def restored(saved: Saved, instances: Instances) -> Instance:
    instance = instances.empty()
    ended = command("restore", str(saved.file), **instance.environment)
    assert ended.returncode == 0, ended.stderr
    assert "the backup is restored" in ended.stdout
    return instance


def test_the_restored_database_equals_the_original(saved: Saved, restored: Instance):
    with restored.up() as url:
        after = contents(url)
    assert len(after["trades"]) > 300
    assert len(after["candles_1m"]) > 300
    assert after["candles_1w"]
    assert {row[2] for row in after["rest"] if row[0] == "chunk"} == {"true", "false"}
    assert sum("| true |" in job for job in after["jobs"]) == 1
    for part, was in saved.contents.items():
        assert after[part] == was, part
    assert after.keys() == saved.contents.keys()


@pytest.mark.usefixtures("saved")
def test_the_restored_database_is_healthy_apart_from_stopped_jobs(restored: Instance):
    ended = command("doctor", **restored.environment)
    problems = [line for line in ended.stdout.splitlines() if not line.startswith("ok ")]
    assert all("is stopped" in line or "candles_" in line for line in problems), ended.stdout


def test_the_restored_database_stores_trades_and_runs_its_jobs(restored: Instance):
    with restored.connected() as connection:
        assert connection.execute("SELECT count(*) > 0 FROM stale_ranges").fetchone() == (True,)
        connection.execute(
            "SELECT alter_job(job_id, scheduled => true, next_start => now()) FROM timescaledb_information.jobs "
            "WHERE proc_name = 'refresh_candles'"
        )
        connection.execute(
            "INSERT INTO trades (time, symbol, price, volume) VALUES (now() - INTERVAL '3 days', 'MSFT', 5, 5)"
        )
        waiting = "SELECT true WHERE NOT EXISTS (SELECT FROM stale_ranges)"
        eventually(lambda: connection.execute(waiting).fetchone(), 60)
        candle = """
            SELECT low FROM candles_1d
            WHERE symbol = 'MSFT' AND bucket = time_bucket(INTERVAL '1 day', now() - INTERVAL '3 days')
        """
        assert connection.execute(candle).fetchone() == (5,)
        connection.execute("INSERT INTO trades (time, symbol, price, volume) VALUES (now(), 'AAPL', 77, 1)")
        assert connection.execute("SELECT price FROM latest_prices WHERE symbol = 'AAPL'").fetchone() == (77,)


def test_an_event_id_from_before_the_restore_gets_a_gap(saved: Saved, restored: Instance, tmp_path: Path):
    """This includes ids from after the backup: their positions are not used again."""
    environment = {**restored.environment, "FEED_ENABLED": "false", "EMBEDDED_PORT": "0"}
    with running(tmp_path, **environment) as (_, client):
        for version in (saved.version, saved.version + 5):
            with listening(str(client.base_url), f"{version}-1-0") as events:
                gap = events.next("gap", "trade")
                assert gap.name == "gap"
                assert "/trades" in gap.data["reason"]
            with listening(str(client.base_url), gap.id) as events:
                assert events.any().name == "heartbeat"


def test_a_backup_of_a_schema_older_than_the_baseline_is_refused(instances: Instances, tmp_path: Path):
    old, new = instances.migrated(), instances.empty()
    with old.connected() as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0011'")
    file = tmp_path / f"old{old.suffix}"
    saved = command("backup", str(file), **old.environment)
    assert (saved.returncode, "only the version of market-data that wrote schema 0011" in saved.stderr) == (0, True)
    message = error_line("restore", str(file), **new.environment)
    assert "schema 0011" in message
    assert "format=csv" in message
    assert "market-data import" in message
    assert new.home is None or not (new.home / "data").exists()


def test_versions_continue_above_those_taken_after_the_backup(saved: Saved, instances: Instances):
    instance = instances.empty()
    assert command("restore", str(saved.file), **instance.environment).returncode == 0
    with instance.connected() as connection:
        totals = "SELECT sum(trade_count)::bigint, (SELECT count(*) FROM trades), newest_version() FROM data_version"
        ((counted, stored, version),) = connection.execute(totals).fetchall()
        assert counted == stored > 0
        assert version > saved.version + 10**11
        kinds = connection.execute("SELECT kind, version = %s FROM commits ORDER BY version DESC LIMIT 2", (version,))
        assert kinds.fetchall()[0] == ("restore", True)
        times = connection.execute("SELECT committed_at FROM commits ORDER BY version").fetchall()
        assert times == sorted(times)
        before = connection.execute("SELECT max(write_id) FROM trades").fetchone() or (0,)
        row = connection.execute(
            "INSERT INTO trades (time, symbol, price, volume) VALUES (now(), 'MSFT', 5, 5) RETURNING write_id"
        ).fetchone() or (0,)
        assert row > before
        assert connection.execute(totals).fetchone() == (stored + 1, stored + 1, version + 1)


def test_a_database_with_tables_is_not_restored_into(saved: Saved):
    message = error_line("restore", str(saved.file), **saved.instance.environment)
    assert "is not empty, it has public." in message or "There is a database in" in message


def test_an_existing_file_is_not_overwritten(saved: Saved):
    before = saved.file.read_bytes()
    assert "exists already" in error_line("backup", str(saved.file), **saved.instance.environment)
    assert saved.file.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"PGDMP nothing more", b"\x1f\x8b nothing more"])
def test_other_files_are_rejected(instances: Instances, tmp_path: Path, content: bytes | None):
    target = instances.empty()
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    message = error_line("restore", str(file), **target.environment)
    assert str(file) in message or "pg_restore failed" in message
    assert target.home is None or not (target.home / "data").exists()


def test_a_database_without_the_schema_is_not_saved(instances: Instances, tmp_path: Path):
    message = error_line("backup", str(tmp_path / "file"), **instances.empty().environment)
    assert "nothing to save" in message or "There is no database" in message
    assert list(tmp_path.iterdir()) == []
