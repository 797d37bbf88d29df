"""Private keys of the log: a file of PEM blocks, which only the service can read. The database has the public keys."""

import os
import re
from pathlib import Path
from secrets import token_hex

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from market_data.errors import SettingsError

BLOCK = re.compile(rb"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n?", re.DOTALL)


def read_keys(path: Path) -> list[Ed25519PrivateKey]:
    """Return the keys of a file, the oldest first; an empty list if there is no such file.

    Raises:
        SettingsError: It can't be read, or has something else than keys.
    """
    try:
        text = path.read_bytes()
        keys = [load_pem_private_key(block, None) for block in BLOCK.findall(text)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"LOG_KEY_FILE={str(path)!r} can't be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        keys = []
    ed25519 = [key for key in keys if isinstance(key, Ed25519PrivateKey)]
    if not ed25519 or len(ed25519) != len(keys):
        raise SettingsError(f"LOG_KEY_FILE={str(path)!r} has no Ed25519 keys in PEM blocks, as the service writes them")
    return ed25519


def add_key(path: Path) -> Ed25519PrivateKey:
    """Create a key in a file, after those that it has already. The file is replaced at once, and readable by its owner only.

    Raises:
        SettingsError: It can't be written.
    """
    keys = [*read_keys(path), Ed25519PrivateKey.generate()]
    draft = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch(0o600, exist_ok=False)
        with draft.open("wb") as file:
            file.writelines(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in keys)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise SettingsError(f"LOG_KEY_FILE={str(path)!r} can't be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return keys[-1]
