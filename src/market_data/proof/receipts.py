"""Receipts: a proof (c2sp.org/tlog-proof) that an entry is in the log, whose extra data proves a leaf to be in the entry."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from market_data.proof.entries import parse_entry
from market_data.proof.merkle import inclusion_root, leaf_hash
from market_data.proof.notes import (
    Checkpoint,
    InvalidNote,
    Proof,
    VerifierKey,
    decode64,
    encode64,
    parse_checkpoint,
    parse_note,
    parse_proof,
)


class Place(NamedTuple):
    """A leaf within an entry."""

    leaf: str
    number: int
    size: int
    """Number of leaves of the entry."""
    path: Sequence[bytes]


class Verified(NamedTuple):
    """Contents of a receipt that was verified."""

    leaf: str
    entry: str
    number: int
    """Index of the entry."""
    checkpoint: Checkpoint
    signers: list[VerifierKey]


def receipt(entry: bytes, place: Place, index: int, path: Sequence[bytes], checkpoint: str) -> str:
    """Return a receipt as text."""
    extra = {
        "leaf": place.leaf,
        "index": place.number,
        "size": place.size,
        "path": [encode64(each) for each in place.path],
        "entry": entry.decode(),
    }
    return str(Proof(json.dumps(extra, ensure_ascii=False).encode(), index, path, checkpoint))


def verify_receipt(text: str, keys: Sequence[VerifierKey]) -> Verified:
    """Verify a receipt with nothing but public keys, of the log and perhaps of witnesses.

    Raises:
        InvalidNote: It proves nothing; the message says why.
    """
    proof = parse_proof(text)
    try:
        extra = json.loads(proof.extra)
        leaf, entry = str(extra["leaf"]), str(extra["entry"])
        path = [decode64(each) for each in extra["path"]]
        root = inclusion_root(leaf_hash(leaf.encode()), int(extra["index"]), int(extra["size"]), path)
        expected = parse_entry(entry.encode())["root"]
    except (ValueError, KeyError, TypeError):
        raise InvalidNote("its extra data are not those of a receipt: leaf, index, size, path and entry") from None
    if root is None or encode64(root) != expected:
        raise InvalidNote("the leaf is not in the entry")
    note = parse_note(proof.checkpoint)
    checkpoint = parse_checkpoint(note.text)
    signers = note.signers(keys)
    if not any(key.name == checkpoint.origin for key in signers):
        raise InvalidNote(f"its checkpoint is not signed by the key of the log, which is one of {checkpoint.origin}")
    if inclusion_root(leaf_hash(entry.encode()), proof.number, checkpoint.size, proof.path) != checkpoint.root:
        raise InvalidNote("the entry is not in the log of the checkpoint")
    return Verified(leaf, entry, proof.number, checkpoint, signers)
