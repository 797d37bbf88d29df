"""`market-data backup` and `restore` with missing tools, interruptions and damaged files."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import psycopg
import pytest
from helpers.backups import PG_BIN
from helpers.service import command, error_line, eventually
from helpers.support import SERVER
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from market_data.cli.care import snapshots
from market_data.cli.care.pg_tools import find_tool
from market_data.errors import CommandFailed


def program(folder: Path, version: str, then: str = "") -> Path:
    """Write a fake pg_dump that prints its version, and runs `then` for any other call."""
    folder.mkdir(exist_ok=True)
    path = folder / "pg_dump"
    path.write_text(f"""#!{sys.executable}
import os, sys, time
if sys.argv[1:] == ["--version"]:
    print("pg_dump (PostgreSQL) {version} (Debian {version}-1)")
    sys.exit()
{then}
""")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without PostgreSQL's tools. Returns a temporary folder."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("PG_BIN", raising=False)
    return tmp_path


def test_a_missing_tool_is_reported_with_the_remedy(no_tools: Path):
    with pytest.raises(
        CommandFailed, match=r"^pg_dump is not installed: install version 17 .*postgresql-client-17.* PG_BIN"
    ):
        find_tool("pg_dump", 17, ())


def test_an_old_tool_is_reported_with_the_remedy(no_tools: Path):
    program(no_tools / "path", "15.18")
    with pytest.raises(
        CommandFailed, match=r"^pg_dump has version 15, which is older than the server's version 17: install version 17 "
    ):
        find_tool("pg_dump", 17, ())


def test_a_suitable_tool_is_found_in_all_folders(no_tools: Path, monkeypatch: pytest.MonkeyPatch):
    program(no_tools / "path", "15.18")
    beside = program(no_tools / "postgresql-17", "17.2")
    assert find_tool("pg_dump", 17, (f"{no_tools}/postgresql-*",)) == beside
    assert find_tool("pg_dump", 15, (f"{no_tools}/postgresql-*",)) == no_tools / "path" / "pg_dump"
    named = program(no_tools / "named", "18beta1")
    monkeypatch.setenv("PG_BIN", str(named.parent))
    assert find_tool("pg_dump", 17, (f"{no_tools}/postgresql-*",)) == named


if SERVER:

    def test_a_failed_dump_leaves_no_file(session_database: str, tmp_path: Path):
        then = "open(sys.argv[sys.argv.index('--file') + 1], 'w').write('half')\nsys.exit('pg_dump: error: disk full')"
        fake = program(tmp_path / "bin", "17.0", then)
        kept = tmp_path / "kept"
        kept.mkdir()
        message = error_line("backup", str(kept / "file"), DATABASE_URL=session_database, PG_BIN=str(fake.parent))
        assert message == "market-data: pg_dump failed: disk full\n"
        assert list(kept.iterdir()) == []

    def test_the_password_is_not_on_the_command_line(session_database: str, tmp_path: Path):
        then = "sys.exit(f'pg_dump: error: {sys.argv[1:]} {os.environ[\"PGPASSWORD\"]}')"
        fake = program(tmp_path / "bin", "17.0", then)
        url = session_database.replace("postgres@", "postgres:s3cret@", 1)
        message = error_line("backup", str(tmp_path / "file"), DATABASE_URL=url, PG_BIN=str(fake.parent))
        assert message.count("s3cret") == 1
        assert message.endswith("s3cret\n")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_an_interrupted_dump_leaves_no_file(session_database: str, tmp_path: Path, number: signal.Signals):
        then = "open(sys.argv[sys.argv.index('--file') + 1], 'w').write('half')\ntime.sleep(60)"
        fake = program(tmp_path / "bin", "17.0", then)
        kept = tmp_path / "kept"
        kept.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", "market_data.cli.main", "backup", str(kept / "file")],
            env={**os.environ, "DATABASE_URL": session_database, "PG_BIN": str(fake.parent)},
            stderr=subprocess.PIPE,
            text=True,
        )
        eventually(lambda: any(each.read_text() == "half" for each in kept.iterdir()))
        process.send_signal(number)
        assert "interrupted; nothing was saved" in process.communicate(timeout=30)[1]
        assert process.returncode == 130
        assert list(kept.iterdir()) == []

    def test_a_dump_of_a_newer_schema_is_rejected(
        new_migrated_database: Callable[[], AbstractContextManager[str]],
        new_database: Callable[[], AbstractContextManager[str]],
        tmp_path: Path,
    ):
        file = tmp_path / "file"
        with new_migrated_database() as url:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("UPDATE alembic_version SET version_num = '9999'")
            assert command("backup", str(file), DATABASE_URL=url, PG_BIN=PG_BIN).returncode == 0
        with new_database() as url:
            message = error_line("restore", str(file), DATABASE_URL=url, PG_BIN=PG_BIN)
        assert "schema 9999, which this version does not know" in message

    def test_a_role_that_may_not_restore_is_reported_with_the_remedy(
        session_database: str, new_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
    ):
        file = tmp_path / "file"
        assert command("backup", str(file), DATABASE_URL=session_database, PG_BIN=PG_BIN).returncode == 0
        name = f"market_data_test_owner_{uuid4().hex[:8]}"
        role = sql.Identifier(name)
        with new_database() as url, psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION timescaledb")
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
            try:
                owner = make_conninfo(url, user=name, password="x")
                message = error_line(
                    "restore", str(file), DATABASE_URL=f"postgresql:///?{urlencode(conninfo_to_dict(owner))}", PG_BIN=PG_BIN
                )
            finally:
                connection.execute(sql.SQL("DROP ROLE {}").format(role))
        assert "Only a superuser may restore" in message

    def test_a_folder_is_not_a_backup_of_a_server(new_database: Callable[[], AbstractContextManager[str]], tmp_path: Path):
        with new_database() as url:
            assert "not a backup of a server" in error_line("restore", str(tmp_path), DATABASE_URL=url)
else:

    @pytest.fixture
    def home(migrated_seed: Path, tmp_path: Path) -> Path:
        return shutil.copytree(migrated_seed, tmp_path / "home")

    def test_a_running_engine_is_not_copied(session_database: str, home: Path, tmp_path: Path):
        from market_data import embedded

        with embedded.owned_engine(home, report=print):
            message = error_line("backup", str(tmp_path / "copy"), MARKET_DATA_HOME=str(home), DATABASE_URL="")
        assert "can't be copied while it runs" in message
        assert "stop it" in message
        message = error_line("backup", str(tmp_path / "copy"), DATABASE_URL=session_database)
        assert "can't be dumped: stop its service" in message
        assert not (tmp_path / "copy").exists()

    def test_a_copy_may_be_a_folder(home: Path, tmp_path: Path):
        ended = command("backup", str(tmp_path / "copy"), MARKET_DATA_HOME=str(home), DATABASE_URL="")
        assert ended.returncode == 0, ended.stderr
        assert sorted(each.name for each in (tmp_path / "copy").iterdir()) == ["data", "manifest.json"]
        ended = command("restore", str(tmp_path / "copy"), MARKET_DATA_HOME=str(tmp_path / "new"), DATABASE_URL="")
        assert ended.returncode == 0, ended.stderr
        assert sorted(each.name for each in (tmp_path / "new").iterdir()) == ["data", "engine.lock"]

    def test_a_full_disk_leaves_no_file(home: Path, tmp_path: Path):
        kept = tmp_path / "kept"
        kept.mkdir()
        # The files of the engine are smaller than the limit, the tar file is larger.
        limit = 20_000_000
        for number in range(2):
            (home / "data" / f"filler-{number}").write_bytes(os.urandom(15_000_000))
        ended = subprocess.run(
            [sys.executable, "-m", "market_data.cli.main", "backup", str(kept / "file.tar.gz")],
            env={**os.environ, "MARKET_DATA_HOME": str(home), "DATABASE_URL": ""},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1, ended.stdout
        assert "file.tar.gz can't be written" in ended.stderr
        assert list(kept.iterdir()) == []

    @pytest.fixture(scope="module")
    def copy(migrated_seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("copies")
        home = shutil.copytree(migrated_seed, folder / "home")
        ended = command("backup", str(folder / "copy.tar.gz"), MARKET_DATA_HOME=str(home), DATABASE_URL="")
        assert ended.returncode == 0, ended.stderr
        return folder / "copy.tar.gz"

    def restore_error(file: Path, new: Path) -> str:
        """Return the error of a restore that must fail and leave no files."""
        message = error_line("restore", str(file), MARKET_DATA_HOME=str(new), DATABASE_URL="")
        assert {each.name for each in new.glob("*")} <= {"engine.lock"}
        return message

    def test_a_damaged_copy_is_rejected_and_leaves_no_files(copy: Path, tmp_path: Path):
        whole = copy.read_bytes()
        (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "flipped.tar.gz").write_bytes(whole[:1_000_000] + bytes(1000) + whole[1_001_000:])
        for name in ("cut.tar.gz", "flipped.tar.gz"):
            assert "it is damaged" in restore_error(tmp_path / name, tmp_path / "new")

    @pytest.mark.parametrize(
        ("before", "after", "finding"),
        [
            ('"0.3.14', '"0.4.0', "was made by the embedded engine 0.4.0"),
            ('"revision": "', '"revision": "9', "which this version does not know"),
            ('"revision"', '"no"', "is not a backup of an embedded engine"),
        ],
    )
    def test_a_copy_of_another_engine_or_schema_is_rejected(
        copy: Path, tmp_path: Path, before: str, after: str, finding: str
    ):
        with tarfile.open(copy) as archive:
            archive.extract("manifest.json", tmp_path)
        manifest = tmp_path / "manifest.json"
        manifest.write_text(manifest.read_text().replace(before, after))
        with tarfile.open(tmp_path / "changed.tar.gz", "w:gz") as archive:
            archive.add(manifest, "manifest.json")
        assert finding in restore_error(tmp_path / "changed.tar.gz", tmp_path / "new")

    @pytest.mark.parametrize("releases", ["first of Python 3.11", "later"])
    @pytest.mark.parametrize("kind", ["parent", "link"])
    def test_members_outside_the_data_folder_are_rejected(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, releases: str
    ):
        if releases != "later":
            monkeypatch.delattr(tarfile, "data_filter", raising=False)
        with tarfile.open(tmp_path / "copy.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo("data/../../outside" if kind == "parent" else "data/link")
            if kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, "/etc"
            archive.addfile(member)
        with pytest.raises(CommandFailed, match="is neither a file nor a folder of the backup"):
            snapshots.unpack(tmp_path / "copy.tar.gz", tmp_path / "new" / "data")
        assert not (tmp_path / "outside").exists()
