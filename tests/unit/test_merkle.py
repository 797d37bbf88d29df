"""Merkle trees, notes, entries and receipts: against definitions, and against examples of the specifications."""

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from helpers.trade_leaves import LoggedTrade, root_of_trades, trade_leaf
from hypothesis import given
from hypothesis import strategies as st

from market_data.proof.entries import CandlesEntry, CommitEntry
from market_data.proof.merkle import (
    Tree,
    consistency_ranges,
    fold,
    inclusion_path,
    inclusion_root,
    leaf_hash,
    node_hash,
    root_of,
    subtrees,
)
from market_data.proof.notes import (
    Checkpoint,
    InvalidNote,
    VerifierKey,
    encode64,
    parse_checkpoint,
    parse_key,
    parse_note,
    parse_proof,
    sign,
)
from market_data.proof.receipts import Place, receipt, verify_receipt

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
VERIFIER = VerifierKey("example.com/log", KEY.public_key().public_bytes_raw())


def mth(leaves: list[bytes]) -> bytes:
    """Return the Merkle tree hash by its definition in RFC 6962."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize(
    ("count", "root"),
    [
        # Test vectors of the tree of Certificate Transparency, RFC 6962.
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ],
)
def test_roots_are_those_of_certificate_transparency(count: int, root: str):
    leaves = [
        bytes.fromhex(text)
        for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    ]
    assert root_of(map(leaf_hash, leaves[:count])).hex() == root


@given(st.integers(0, 600))
def test_root_is_the_one_of_the_definition(count: int):
    assert root_of(map(leaf_hash, numbered(count))) == mth(numbered(count))


@given(st.data())
def test_inclusion_proof_leads_to_the_root(data: st.DataObject):
    count = data.draw(st.integers(1, 300))
    number = data.draw(st.integers(0, count - 1))
    leaves = [leaf_hash(leaf) for leaf in numbered(count)]
    path = inclusion_path(leaves, number)
    assert inclusion_root(leaves[number], number, count, path) == root_of(leaves)
    assert inclusion_root(leaves[number - 1], number, count, path) != root_of(leaves) or count == 1
    assert inclusion_root(leaves[number], number, count, [*path, bytes(32)]) is None


@given(st.data())
def test_ranges_of_proofs_consist_of_complete_subtrees(data: st.DataObject):
    new = data.draw(st.integers(1, 2000))
    old = data.draw(st.integers(1, new))
    leaves = [leaf_hash(leaf) for leaf in numbered(new)]
    for each in consistency_ranges(old, new):
        parts = [leaves[number << height : (number + 1) << height] for height, number in subtrees(each)]
        assert [len(part) for part in parts] == [1 << height for height, _ in subtrees(each)]
        assert fold([root_of(part) for part in parts]) == root_of(leaves[each.start : each.end])


def test_tree_goes_on_from_complete_subtrees():
    leaves = [leaf_hash(leaf) for leaf in numbered(11)]
    tree = Tree([(3, root_of(leaves[:8]))])
    for leaf in leaves[8:]:
        tree.append(leaf)
    assert tree.root() == root_of(leaves)


def test_example_of_signed_notes_is_verified():
    """The example of c2sp.org/signed-note."""
    key = parse_key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    note = parse_note(
        "This is an example message.\n\n"
        "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    assert note.signers([key]) == [key]
    assert str(key).startswith("example.com/foo+530d903a+")
    with pytest.raises(InvalidNote, match=r"example\.com/foo is wrong"):
        note._replace(text="This is another message.\n").signers([key])


def test_example_of_checkpoints_is_read():
    """The example of c2sp.org/tlog-checkpoint."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = parse_checkpoint(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert str(checkpoint) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n— name\n",
        "text\n\n— name !!!!\n",
        "text\n\n- name AAAAAAAAAAA=\n",
        "\n\n— a AAAA\n",
    ],
)
def test_text_that_is_not_a_note_is_rejected(text: str):
    with pytest.raises(InvalidNote):
        parse_note(text)


@pytest.mark.parametrize(
    "text", ["", "name", "name+0+AA==", "name+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "+++"]
)
def test_text_that_is_not_a_key_is_rejected(text: str):
    with pytest.raises(InvalidNote):
        parse_key(text)


TRADE = LoggedTrade("AAPL", datetime(2026, 2, 8, 10, 30, 0, 250_000, UTC), 7, Decimal("104.90"), Decimal(300))


def test_leaf_of_a_trade_is_canonical():
    assert trade_leaf(TRADE) == b'["trade", "AAPL", 1770546600250000, 7, "104.9", "300"]'
    assert trade_leaf(TRADE._replace(price=Decimal("1E+20"), volume=Decimal("0.0"))).endswith(
        b'"100000000000000000000", "0"]'
    )


def test_entries_are_canonical():
    root = root_of_trades([TRADE])
    assert root.hex() == "5e01e60eafd0adb219feb87e28f691730f0c6ac1a273347a824820263b0a10e1"
    entry = CommitEntry(12, datetime(2026, 2, 8, 10, 30, 1, tzinfo=UTC), "store", 1, 0, root)
    assert bytes(entry).decode() == (
        "market-data/commit@v1\nversion 12\ntime 2026-02-08T10:30:01.000000Z\nkind store\ntrades 1\nchanges 0\n"
        f"root {encode64(root)}\n"
    )
    assert bytes(entry._replace(root=None)).endswith(b"root unknown\n")
    candles = CandlesEntry(12, 9, entry.committed_at, 0, root_of([]))
    assert bytes(candles) == (
        b"market-data/candles@v1\nversion 12\nsince 9\ntime 2026-02-08T10:30:01.000000Z\ncandles 0\n"
        b"root 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    )


def made_receipt(*, leaf: bytes | None = None, origin: str = "example.com/log") -> str:
    others = [TRADE._replace(trade_id=number) for number in range(7, 12)]
    leaves = [leaf_hash(trade_leaf(trade)) for trade in others]
    entry = bytes(CommitEntry(12, TRADE.time, "store", 5, 0, root_of_trades(others)))
    entries = [leaf_hash(b"first"), leaf_hash(entry), leaf_hash(b"third")]
    place = Place((leaf or trade_leaf(TRADE)).decode(), 0, 5, inclusion_path(leaves, 0))
    note = sign(str(Checkpoint(origin, 3, root_of(entries))), origin, KEY)
    return receipt(entry, place, 1, inclusion_path(entries, 1), note)


def test_receipt_is_verified_with_the_public_key_alone():
    verified = verify_receipt(made_receipt(), [VERIFIER])
    assert verified.leaf.encode() == trade_leaf(TRADE)
    assert (verified.number, verified.checkpoint.size, verified.signers) == (1, 3, [VERIFIER])


def test_receipt_that_was_changed_is_rejected():
    text = made_receipt()
    proof = parse_proof(text)
    for changed, reason in (
        (made_receipt(leaf=b'["trade", "AAPL", 1770546600250000, 7, "104.8", "300"]'), "the leaf is not in the entry"),
        (str(proof._replace(number=2)), "not in the log"),
        (str(proof._replace(path=[bytes(32), *proof.path[1:]])), "not in the log"),
        (text.replace("\n3\n", "\n4\n"), "is wrong"),
        (made_receipt(origin="example.com/other"), "not signed"),
        (str(proof._replace(extra=b"{}")), "extra data"),
        (text[1:], "not a proof"),
    ):
        with pytest.raises(InvalidNote, match=reason):
            verify_receipt(changed, [VERIFIER])
