"""Merkle trees of RFC 6962 with SHA-256: roots, inclusion and consistency proofs.

A proof is first a list of ranges of leaves whose hashes it consists of, so that the hashes can be read from tiles.
`subtrees` splits a range into complete subtrees, each of which lies within one tile.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from hashlib import sha256
from typing import NamedTuple

EMPTY_ROOT = sha256().digest()
"""Root of the tree without leaves."""

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT


class Range(NamedTuple):
    """Leaves [start, end) whose hash is part of a proof."""

    start: int
    end: int


class Subtree(NamedTuple):
    """Complete subtree: the leaves [number * 2**height, (number + 1) * 2**height)."""

    height: int
    number: int


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """Root of leaves that arrive one by one; holds one hash for each complete subtree."""

    def __init__(self, complete: Iterable[tuple[int, bytes]] = ()) -> None:
        """Start from complete subtrees, as heights and hashes from left to right; by default from nothing."""
        self._complete = list(complete)

    def append(self, leaf: bytes, height: int = 0) -> None:
        """Add the hash of a leaf, or of a complete subtree, which must not be higher than those before it."""
        complete = self._complete
        while complete and complete[-1][0] == height:
            leaf = node_hash(complete.pop()[1], leaf)
            height += 1
        complete.append((height, leaf))

    def root(self) -> bytes:
        """Return the root of the leaves up to now."""
        return fold([each for _, each in self._complete])


def fold(subtrees: Sequence[bytes]) -> bytes:
    """Return the root of complete subtrees of decreasing height."""
    if not subtrees:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(subtrees))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root of hashes of leaves."""
    tree = Tree()
    for each in leaves:
        tree.append(each)
    return tree.root()


def _split(size: int) -> int:
    """Return the largest power of two that is smaller than a size."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the ranges of an inclusion proof, from the sibling of the leaf to the child of the root."""
    start, end = 0, size
    found: list[Range] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append(Range(middle, end))
            end = middle
        else:
            found.append(Range(start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Return the ranges of a consistency proof between trees of two sizes, of which the old one is not empty."""
    start, end = 0, new
    found: list[Range] = []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            found.append(Range(middle, end))
            end = middle
        else:
            found.append(Range(start, middle))
            start = middle
    if start:  # else the old tree is the subtree, whose root the verifier has
        found.append(Range(start, end))
    return found[::-1]


def subtrees(leaves: Range) -> list[Subtree]:
    """Return the complete subtrees of a range of a tree, from left to right."""
    found: list[Subtree] = []
    start, end = leaves
    while start < end:
        height = (end - start).bit_length() - 1
        found.append(Subtree(height, start >> height))
        start += 1 << height
    return found


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion proof of one of the hashes of leaves."""
    return [root_of(leaves[start:end]) for start, end in inclusion_ranges(index, len(leaves))]


def inclusion_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to; None if it is not a proof of that index and size."""
    if not 0 <= index < size:
        return None
    ranges = inclusion_ranges(index, size)
    if len(path) != len(ranges):
        return None
    root = leaf
    for (start, _), each in zip(ranges, path, strict=True):
        root = node_hash(root, each) if start > index else node_hash(each, root)
    return root
