"""`market-data pin`: versions that stay answerable in spite of retention."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
from helpers.service import command
from helpers.support import Databases, one, store

COUNT = "SELECT count(*) FROM trades_as_of(%s)"


def test_pinned_version_stays_answerable(new_migrated_database: Databases):
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        now = datetime.now(UTC)
        store(connection, *((now - timedelta(days=days), "AAPL", 0, Decimal(1), Decimal(1)) for days in (30, 1)))
        connection.execute("CALL refresh_candles()")
        connection.execute("UPDATE retention SET drop_after = INTERVAL '8 days'")
        version = one(connection, "SELECT newest_version()")
        created = command("pin", "create", "report", DATABASE_URL=url)
        assert (created.returncode, created.stdout) == (0, f"{version}\n")
        connection.execute("DELETE FROM trades WHERE time > now() - INTERVAL '2 days'")
        connection.execute("CALL drop_old_trades()")
        assert one(connection, COUNT, version) == 2
        listed = command("pin", "list", DATABASE_URL=url).stdout.splitlines()
        assert listed[-1].split()[:2] == ["report", str(version)]
        assert "no trades are dropped while there are pins: report" in command("retention", DATABASE_URL=url).stdout

        again = command("pin", "create", "report", DATABASE_URL=url)
        assert again.returncode == 1
        assert "There is a pin report already" in again.stderr
        deleted = command("pin", "delete", "report", DATABASE_URL=url)
        assert (deleted.returncode, deleted.stdout) == (0, "the pin report is deleted\n")
        connection.execute("CALL drop_old_trades()")
        assert one(connection, "SELECT count(*) FROM trades") == 0
        for given in (version, version + 10**9):
            refused = command("pin", "create", "report", "--version", str(given), DATABASE_URL=url)
            assert refused.returncode == 1
            assert f"Version {given} can't be pinned" in refused.stderr
        missing = command("pin", "delete", "report", DATABASE_URL=url)
        assert (missing.returncode, "There is no pin report" in missing.stderr) == (1, True)
        assert command("pin", "list", DATABASE_URL=url).stdout.startswith("there are no pins")
