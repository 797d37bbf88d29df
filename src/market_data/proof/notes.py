"""Signed notes (c2sp.org/signed-note), checkpoints (c2sp.org/tlog-checkpoint) and proofs (c2sp.org/tlog-proof)."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519, COSIGNATURE = 1, 4
"""Types of signatures: of a note; of a witness, with its time (c2sp.org/tlog-cosignature)."""

PROOF = "c2sp.org/tlog-proof@v1"


class InvalidNote(ValueError):
    """A text is not a note, key or proof, or no trusted key has signed it."""


class VerifierKey(NamedTuple):
    """Public key with its name."""

    name: str
    public_key: bytes
    type: int = ED25519

    @property
    def id(self) -> bytes:
        """The first four bytes of a hash of name, type and public key, which signatures begin with."""
        return sha256(f"{self.name}\n".encode() + bytes([self.type]) + self.public_key).digest()[:4]

    def __str__(self) -> str:
        """Return the key as text, as tools take it."""
        return f"{self.name}+{self.id.hex()}+{encode64(bytes([self.type]) + self.public_key)}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Return True if a signature without its key ID is of this key."""
        message = text.encode()
        if self.type == COSIGNATURE:
            time = int.from_bytes(signature[:8])
            message = f"cosignature/v1\ntime {time}\n".encode() + message
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Note(NamedTuple):
    """A note: its text, which ends with a newline, and its signatures."""

    text: str
    signatures: list[tuple[str, bytes]]
    """Name, and key ID with signature."""

    def signers(self, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Return which of the keys have signed it.

        Raises:
            InvalidNote: A signature of one of them is wrong.
        """
        found: list[VerifierKey] = []
        for key in keys:
            for name, signature in self.signatures:
                if (name, signature[:4]) == (key.name, key.id):
                    if not key.verifies(self.text, signature[4:]):
                        raise InvalidNote(f"the signature of {name} is wrong")
                    found.append(key)
        return found


class Checkpoint(NamedTuple):
    """Text of a checkpoint."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        """Return the text of its note."""
        return f"{self.origin}\n{self.size}\n{encode64(self.root)}\n"


class Proof(NamedTuple):
    """Inclusion of an entry in the tree of a checkpoint."""

    extra: bytes
    number: int
    path: Sequence[bytes]
    checkpoint: str
    """A signed note."""

    def __str__(self) -> str:
        """Return its text."""
        lines = [PROOF, f"extra {encode64(self.extra)}", f"index {self.number}", *map(encode64, self.path)]
        return "\n".join(lines) + f"\n\n{self.checkpoint}"


def encode64(data: bytes) -> str:
    """Return the Base64 form."""
    return b64encode(data).decode()


def decode64(text: str) -> bytes:
    """Return the bytes of a Base64 form.

    Raises:
        InvalidNote: It is not one.
    """
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidNote(f"{text[:80]!r} is not Base64") from None


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """Return the line of a signature."""
    return f"— {key.name} {encode64(key.id + signature)}\n"


def sign(text: str, origin: str, *keys: Ed25519PrivateKey) -> str:
    """Return a text as a note signed with keys of one name."""
    signatures = (
        signature_line(VerifierKey(origin, key.public_key().public_bytes_raw()), key.sign(text.encode())) for key in keys
    )
    return f"{text}\n{''.join(signatures)}"


def parse_key(text: str) -> VerifierKey:
    """Return a verifier key of a log or a witness.

    Raises:
        InvalidNote: It is not one.
    """
    name, _, rest = text.strip().partition("+")
    identity, _, material = rest.partition("+")
    data = decode64(material)
    key = VerifierKey(name, data[1:], data[0] if data else 0)
    if not name or len(data) != 33 or key.type not in {ED25519, COSIGNATURE} or key.id.hex() != identity:
        raise InvalidNote(f"{text.strip()[:200]!r} is not a verifier key such as example.com/log+530d903a+AekyeRrm…")
    return key


def parse_note(note: str) -> Note:
    """Return the parts of a signed note.

    Raises:
        InvalidNote: It is not one.
    """
    text, separator, rest = note.rpartition("\n\n")
    signatures: list[tuple[str, bytes]] = []
    for line in rest.removesuffix("\n").split("\n"):
        dash, name, signature = (*line.split(" "), "", "", "")[:3]
        if dash != "—" or not name or len(data := decode64(signature)) < 5:
            raise InvalidNote(f"{line[:80]!r} is not the signature of a note")
        signatures.append((name, data))
    if not separator or not rest.endswith("\n"):
        raise InvalidNote("it is not a signed note: it has no signatures")
    return Note(f"{text}\n", signatures)


def parse_checkpoint(text: str) -> Checkpoint:
    """Return a checkpoint from the text of its note.

    Raises:
        InvalidNote: It is not one.
    """
    origin, size, root = (*text.split("\n", 3), "", "", "")[:3]
    if not origin or not size.isascii() or not size.isdecimal() or len(hash_ := decode64(root)) != 32:
        raise InvalidNote("the note is not a checkpoint: origin, size and root are its first three lines")
    return Checkpoint(origin, int(size), hash_)


def parse_proof(text: str) -> Proof:
    """Return a proof from its text.

    Raises:
        InvalidNote: It is not one.
    """
    head, separator, checkpoint = text.partition("\n\n")
    first, *lines = head.split("\n")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = decode64(lines.pop(0)[6:])
    index = lines.pop(0)[6:] if lines and lines[0].startswith("index ") else ""
    if first != PROOF or not separator or not index.isascii() or not index.isdecimal():
        raise InvalidNote(f"it is not a proof: it does not begin with {PROOF}, extra and index")
    return Proof(extra, int(index), [decode64(line) for line in lines], checkpoint)
