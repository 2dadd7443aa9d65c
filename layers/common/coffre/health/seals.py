"""Do the keys of sealed backups still open them?  Each key is tried, by unwrapping a data key with it."""

from __future__ import annotations

from collections.abc import Mapping

from coffre.errors import CoffreError, KeyServiceUnavailableError
from coffre.results import Finding
from coffre.vault.keys import SealKeys
from coffre.vault.manifest import SealKey


class SealProbe:
    """Tries the keys in one report.  Where KMS gave no answer it isn't asked again: a report has its time."""

    def __init__(self, keys: SealKeys) -> None:
        self._keys = keys
        self._silent: set[str] = set()

    def locked(self, seals: Mapping[str, int]) -> tuple[Finding, ...]:
        """What stands against the seals of a database's backups: one finding for each that can't be opened.

        A KMS key that waits for its deletion already unwraps nothing, 7 to 30 days before it is gone.

        Parameters
        ----------
        seals:
            How many backups each seal is needed for, by the seal's key as JSON.
        """
        keys = [(SealKey.model_validate_json(seal), backups) for seal, backups in seals.items()]
        tried = [(key, backups, self._try(key)) for key, backups in keys]
        return tuple(_finding(key, backups, error) for key, backups, error in tried if error is not None)

    def _try(self, key: SealKey) -> CoffreError | None:
        region = key.kms_key.split(":")[3]
        if region in self._silent:
            return KeyServiceUnavailableError(f"KMS in {region} gave no answer; {key.kms_key} wasn't tried")
        error = self._keys.probe(key)
        if isinstance(error, KeyServiceUnavailableError) and not error.answered:
            self._silent.add(region)
        return error


def _finding(key: SealKey, backups: int, error: CoffreError) -> Finding:
    silent = isinstance(error, KeyServiceUnavailableError)
    what = "may not be readable" if silent else "can't be read"
    return Finding(
        level="warn" if silent else "refuse",
        code=error.code,
        object=key.kms_key,
        message=f"{backups} sealed backups {what}: {error.message}",
        advice=error.hint,
        count=backups,
    )
