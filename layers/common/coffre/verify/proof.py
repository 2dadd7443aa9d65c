"""Have a backup proven where nothing can be stolen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from coffre.databases.checks import for_ticket, read_checks
from coffre.errors import FunctionFailedError, InvalidChecksError, ObjectCorruptError, ObjectMissingError
from coffre.ids import backup_time
from coffre.results import Finding, ProofReport
from coffre.vault.contents import read_sections
from coffre.vault.evidence import is_proof, newest_evidence
from coffre.vault.layout import Layout
from coffre.vault.manifest import StoredFile
from coffre.vault.reader import list_backups
from coffre.vault.ticket import Ticket, issue_ticket
from coffre.verify.job import Verification
from coffre.verify.reasons import doubt, report_of

SHORTEST_PROOF = 60.0


def have_proven(work: Verification, *, once_a_day: bool) -> ProofReport:
    """Have the backup restored and compared, if its policy says that a proof is due.

    Parameters
    ----------
    once_a_day:
        Of the request; see `coffre.events.verify.VerifyRequest`.
    """
    reason = _not_due(work, once_a_day)
    if reason is not None:
        return report_of("inconclusive", [reason])
    return ask_for_proof(work, work.manifest.engine.major)


def ask_for_proof(work: Verification, major: int) -> ProofReport:
    """Have the backup restored and compared on a server of this major version; see `coffre.prove`."""
    seconds = work.seconds_left
    if seconds < SHORTEST_PROOF:
        return report_of("inconclusive", [doubt("no-time", "there is too little time left for a proof")])
    try:
        checks = read_checks(work.registration, work.store, name=work.manifest.database)
    except (InvalidChecksError, ObjectCorruptError, ObjectMissingError) as error:
        return report_of("inconclusive", [doubt(error.code, f"the owner's checks: {error.message}")])
    critical = tuple(work.registration.critical_tables)
    ticket = replace(_ticket(work), checks=for_ticket(checks), critical=critical)
    url = issue_ticket(work.store, ticket, _objects(work), seconds=int(seconds) + 60)
    try:
        answer = work.services.invoke_prove(
            {
                "ticket_url": url,
                "seconds": min(seconds, 860.0),
                "major": major,
                "seal": work.store.seal.hand_over(),
            },
            seconds + 10,
        )
    except FunctionFailedError as error:
        return report_of("inconclusive", [doubt("proof-not-done", error.message)])
    return ProofReport.model_validate(answer)


def _not_due(work: Verification, once_a_day: bool) -> Finding | None:
    """Why no proof is due by the database's policy; None if one is."""
    policy = work.registration.prove
    if policy == "every" or (policy == "daily" and not (once_a_day and _proven_today(work))):
        return None
    return doubt("not-due", f"not due: the policy proves {policy}")


def _proven_today(work: Verification) -> bool:
    day = backup_time(work.manifest.id).date()
    for other in list_backups(work.store, work.manifest.database):
        if backup_time(other).date() != day:
            continue
        entry = work.services.catalogue.backup(work.manifest.database, other)
        if entry is None or entry.root_hash is None:
            continue
        found = newest_evidence(work.store, work.manifest.database, other, entry.root_hash)
        if found is not None and is_proof(found):
            return True
    return False


def _ticket(work: Verification) -> Ticket:
    key = Layout(work.manifest.database).manifest(work.manifest.id)
    return Ticket(work.manifest.database, work.manifest.id, work.digest, key)


def _objects(work: Verification) -> Iterator[tuple[str, str | None]]:
    """What a proof reads.  Objects behind a delete marker are named with the version that was read."""
    yield _ticket(work).manifest, None
    files: list[StoredFile] = [*work.manifest.files, *work.manifest.parts]
    for key in (file.key for file in files):
        yield key, work.hidden.get(key)
    keys = (chunk.key for section in read_sections(work.spool) for chunk in section.chunks)
    for key, _ in groupby(keys):  # slices of one chunk follow each other
        yield key, work.hidden.get(key)
