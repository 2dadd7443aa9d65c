"""Writing a text into the vault, once."""

from __future__ import annotations

from coffre.errors import ObjectExistsError
from coffre.vault.files import put_bytes
from coffre.vault.store import ObjectStore


def write(store: ObjectStore, key: str, text: str, *, may_exist: bool = False) -> bool:
    """Write an object.

    Parameters
    ----------
    may_exist:
        Leave one that is there as it is.

    Returns
    -------
    bool
        False if it was there.

    Raises
    ------
    ObjectExistsError, StoreUnavailableError
    """
    try:
        put_bytes(store, key, text.encode())
    except ObjectExistsError:
        if not may_exist:
            raise
        return False
    return True
