"""Client of witnesses (c2sp.org/tlog-witness): they check that a checkpoint continues the one before, and sign it."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import httpx
from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from market_data.proof.notes import InvalidNote, VerifierKey, encode64, parse_note
from market_data.queries.log_tree import read_consistency

logger = logging.getLogger(__name__)

Connection = AsyncConnection[Any]

TIMEOUT_SECONDS = 5.0

MAX_RESPONSE = 100_000

SIZE = "SELECT size FROM log_cosignatures WHERE witness = %s"
STORE = """
    INSERT INTO log_cosignatures (witness, size, line)
    VALUES (%s, %s, %s)
    ON CONFLICT (witness) DO UPDATE SET size = excluded.size, line = excluded.line, signed_at = excluded.signed_at
"""


class Witnesses:
    """The witnesses of a log, and the keys that are accepted from them."""

    def __init__(self, urls: Sequence[str], keys: Sequence[VerifierKey]) -> None:
        self._urls = urls
        self._keys = keys
        self._failing: set[str] = set()
        """Witnesses whose failure has been logged."""

    async def cosign(self, connection: Connection, size: int, note: str) -> None:
        """Send a checkpoint to all witnesses, and store their cosignatures. A failure is logged once."""
        if not self._urls:
            return
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            results = await asyncio.gather(
                *(self._cosign_by(client, connection, url, size, note) for url in self._urls), return_exceptions=True
            )
        for url, result in zip(self._urls, results, strict=True):
            if isinstance(result, httpx.HTTPError | InvalidNote | LookupError):
                if url not in self._failing:
                    logger.warning(
                        "the witness %s did not sign the checkpoint: %s", url, str(result) or type(result).__name__
                    )
                self._failing.add(url)
            elif isinstance(result, BaseException):
                raise result
            else:
                self._failing.discard(url)

    async def _cosign_by(self, client: httpx.AsyncClient, connection: Connection, url: str, size: int, note: str) -> None:
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute(SIZE, (url,))
        old = await cursor.fetchone() or 0
        response = await self._post(client, connection, url, old, size, note)
        if response.status_code == 409 and (text := response.text.strip()).isdecimal():
            old = int(text)  # of the checkpoint that the witness has signed last
            if old > size:
                raise LookupError(f"it has signed a log of {old} entries, and this one has {size}: was a backup restored?")
            response = await self._post(client, connection, url, old, size, note)
        if response.status_code != 200:
            raise LookupError(f"it answered {response.status_code} {response.text[:200].strip()}")
        lines = [line for line in response.text[:MAX_RESPONSE].split("\n") if line and self._is_trusted(note, line)]
        if not lines:
            raise InvalidNote("none of its signatures is of a key in WITNESS_KEYS")
        await connection.execute(STORE, (url, size, "".join(f"{line}\n" for line in lines)))

    async def _post(
        self, client: httpx.AsyncClient, connection: Connection, url: str, old: int, size: int, note: str
    ) -> httpx.Response:
        proof = await read_consistency(connection, old, size)
        body = "".join([f"old {old}\n", *(f"{encode64(each)}\n" for each in proof), "\n", note])
        return await client.post(f"{url}/add-checkpoint", content=body.encode())

    def _is_trusted(self, note: str, line: str) -> bool:
        text = note.rpartition("\n\n")[0]
        return bool(parse_note(f"{text}\n\n{line}\n").signers(self._keys))
