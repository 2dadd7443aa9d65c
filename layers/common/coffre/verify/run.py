"""One verification: read everything back, have it proven, keep the evidence."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.catalogue.meter import Meter
from coffre.catalogue.rebuild import vault_databases
from coffre.databases.checks import for_ticket, read_checks
from coffre.databases.registration import Registration
from coffre.databases.registry import Registry
from coffre.errors import (
    CoffreError,
    DeadlineExceededError,
    FunctionFailedError,
    InvalidChecksError,
    InvalidEventError,
    ManifestInvalidError,
    ObjectCorruptError,
    ObjectMissingError,
    UnknownDatabaseError,
)
from coffre.events import RecheckRequest, Verdict, VerifyRequest
from coffre.ids import backup_time, new_attempt, stamp, utc_now
from coffre.notify.publisher import DetailType, Publisher
from coffre.results import Compared, Finding, ProofReport, RecheckResult, UpgradeReport, VerifyResult
from coffre.vault.contents import Contents, read_contents, read_sections, scratch_folder
from coffre.vault.digest import MODULUS
from coffre.vault.evidence import evidence_time, newest_evidence
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest, StoredFile
from coffre.vault.parts import Chunk, encode_record
from coffre.vault.reader import list_backups, load_manifest, locate
from coffre.vault.refs import read_ids
from coffre.vault.store import ObjectStore
from coffre.vault.ticket import Ticket, issue_ticket
from coffre.verify.recheck import Services as RecheckServices
from coffre.verify.recheck import recheck
from coffre.workers import Message, WorkerPool

WORKERS = 2
ITEM_BYTES = 32 << 20
ENDING_SECONDS = 20.0
"""Kept back of the function's time for the verdict."""

SHORTEST_PROOF = 60.0
MAX_REASONS = 5_000
"""More would not fit into evidence (`coffre.vault.evidence.MAX_BYTES`)."""

SHOWN_REASONS = 100
"""More would not fit into an event (256 KB) or an item of the catalogue (400 KB)."""

UpgradeVerdict = Literal["upgrade-ready", "upgrade-blocked", "inconclusive"]

EVENTS: dict[Verdict, DetailType] = {
    "proven": "Proof Passed",
    "failed": "Proof Failed",
    "inconclusive": "Proof Inconclusive",
}


@dataclass(frozen=True)
class Services:
    """What a verification works with; see `coffre.backup.job.Services`.

    Attributes
    ----------
    invoke_prove:
        Calls the `prove` of the event's ``major`` and waits: (event, seconds to wait) -> answer.
    """

    store: ObjectStore
    catalogue: Catalogue
    publisher: Publisher
    registry: Registry
    scratch: Path
    max_run_seconds: int
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]
    invoke_prove: Callable[[dict[str, object], float], dict[str, object]]


def run(request: VerifyRequest, services: Services, *, seconds: float) -> VerifyResult:
    """Verify and prove one backup.

    Parameters
    ----------
    seconds:
        How long this may take, `prove` included.

    Returns
    -------
    VerifyResult
        Its verdict is ``failed`` if the vault doesn't hold what the manifest says or the proof failed.

    Raises
    ------
    CoffreError
        If there is no such backup, or the store or the catalogue don't answer: that says nothing about it.
    """
    started, ends = utc_now(), time.monotonic() + min(seconds, services.max_run_seconds)
    manifest, digest = load_manifest(services.store, request.database, request.backup_id)
    source = manifest.engine.server_version_num // 10_000
    if request.upgrade_to is not None and request.upgrade_to <= source:
        raise InvalidEventError(
            f"{manifest.id} comes from PostgreSQL {source}: {request.upgrade_to} is no upgrade"
        )
    recorded = _recorded_hash(services.catalogue, manifest)
    if recorded not in (None, digest):
        return _record(services, manifest, recorded, _report("failed", [_another(manifest)]), None, 0.0)
    run_id = f"{manifest.id}-{new_attempt()}"
    services.catalogue.start_run(
        request.database, "verify", run_id, started + timedelta(seconds=seconds), manifest.id
    )
    services.catalogue.complete(manifest, digest)
    try:
        with scratch_folder(services.scratch, "verify") as folder:
            tell = partial(services.catalogue.run_progress, request.database, run_id)
            meter = Meter(tell, manifest.totals.bytes)
            verification = _Verification(services, manifest, digest, folder, ends, meter)
            report = verification.run()
            upgrade = verification.rehearse(request.upgrade_to, report) if request.upgrade_to else None
    finally:
        services.catalogue.end_run(request.database, run_id)
    return _record(services, manifest, digest, report, upgrade, (utc_now() - started).total_seconds())


def reread(request: RecheckRequest, services: Services, *, seconds: float) -> RecheckResult:
    """Read the chunks again that are due; a backup that needs a damaged one loses its verdict.

    Raises
    ------
    CoffreError
        If the store or the catalogue don't answer, or the vault holds nothing of such a database.
    """
    ends = time.monotonic() + seconds - ENDING_SECONDS
    found = vault_databases(services.store)
    if request.database is not None and request.database not in found:
        raise UnknownDatabaseError(f"the vault holds nothing of a database {request.database}")

    def accuse(manifest: Manifest, digest: str, damage: list[Finding]) -> None:
        _record(services, manifest, digest, _report("failed", damage), None, 0)

    work = RecheckServices(services.store, services.catalogue, accuse)
    names = [request.database] if request.database is not None else found
    reports = [recheck(name, work, days=request.days, ends=ends) for name in names]
    result = RecheckResult(reports=reports)
    services.publisher.publish("Recheck Completed", result.answer())
    return result


def _recorded_hash(catalogue: Catalogue, manifest: Manifest) -> str | None:
    """The root hash that the backup had when it was committed; None if the catalogue doesn't know it.

    A manifest is written once, and a backup made again after its deletion is no longer `completed` before.
    """
    entry = catalogue.backup(manifest.database, manifest.id)
    return entry.root_hash if entry is not None and entry.status == "completed" else None


def _another(manifest: Manifest) -> Finding:
    return Finding(
        level="refuse",
        code="manifest-differs",
        object=manifest.id,
        message=f"the manifest of {manifest.id} isn't the one that was written: its hash is another one",
        advice="Look at the versions of manifest.json; the catalogue holds the hash of the right one.",
    )


def _record(
    services: Services,
    manifest: Manifest,
    digest: str,
    report: ProofReport,
    upgrade: UpgradeReport | None,
    seconds: float,
) -> VerifyResult:
    """Write the evidence, then tell the catalogue and the world."""
    evidence = f"{Layout(manifest.database).proofs(manifest.id)}{stamp(utc_now())}.json"
    result = VerifyResult(
        database=manifest.database,
        backup_id=manifest.id,
        verdict=report.verdict,
        reasons=report.reasons,
        root_hash=digest,
        completed=manifest.completed,
        tables=manifest.totals.relations,
        rows=manifest.totals.rows,
        bytes=manifest.totals.bytes,
        compared=report.compared,
        evidence=evidence,
        seconds=round(seconds, 3),
        upgrade=upgrade,
    )
    result = _bounded(result, MAX_REASONS)
    body = result.model_dump_json(indent=1).encode()
    services.store.put_new(evidence, body, size=len(body), sha256=hashlib.sha256(body).hexdigest())
    shown = _bounded(result, SHOWN_REASONS)
    services.catalogue.verdict(shown)
    if result.verdict == "proven":
        services.catalogue.record_restore(_measured(result, report))
    services.publisher.publish(EVENTS[result.verdict], shown.answer())
    return result


def _measured(result: VerifyResult, report: ProofReport) -> RestoreEntry:
    """How long the proof's restore took, for estimates."""
    return RestoreEntry(
        database=result.database,
        time=evidence_time(result.evidence),
        kind="proof",
        status="completed",
        backup_id=result.backup_id,
        tables=result.tables,
        rows=result.rows,
        bytes=result.bytes,
        milliseconds=round(sum(report.phases.values()) * 1000),
    )


class _Verification:
    """One verification under way."""

    def __init__(
        self, services: Services, manifest: Manifest, digest: str, folder: Path, ends: float, meter: Meter
    ) -> None:
        self._services = services
        self._store = services.store
        self._manifest = manifest
        self._digest = digest
        self._spool = folder / "sections"
        self._ends = ends
        self._meter = meter
        self._hidden: dict[str, str] = {}

    def run(self) -> ProofReport:
        """Everything, up to the report."""
        try:
            contents = read_contents(self._store, self._manifest, self._spool)
        except (ManifestInvalidError, ObjectCorruptError, ObjectMissingError) as error:
            return _report("failed", [_refusal(error)])
        damage = self._files() + self._chunks(contents) + self._references()
        if damage:
            return _report("failed", damage)
        return self._prove()

    def _files(self) -> list[Finding]:
        """Read back schema, globals, large objects and parts."""
        findings = []
        files: list[StoredFile] = [*self._manifest.files, *self._manifest.parts]
        for file in files:
            try:
                version, body = locate(self._store, file.key, size=file.size, sha256=file.sha256)
                body.close()
                if version is not None:
                    self._hidden[file.key] = version
            except (ObjectCorruptError, ObjectMissingError) as error:
                findings.append(_refusal(error, file.key))
        return findings

    def _chunks(self, contents: Contents) -> list[Finding]:
        """Read back every chunk, and compare rows, bytes and digest of each relation."""
        damage: list[Finding] = []
        rows: dict[int, int] = defaultdict(int)
        digests: dict[int, int] = defaultdict(int)
        setup = {"task": "read", "bucket": self._store.bucket}
        with self._services.start_workers([setup] * WORKERS, self._check_time) as pool:
            for item, answer in pool.map(self._items()):
                self._meter.add(rows=answer["rows"], done=answer["bytes"])
                rows[item["id"]] += answer["rows"]
                digests[item["id"]] = (digests[item["id"]] + int(answer["digest"], 16)) % MODULUS
                self._hidden |= answer["hidden"]
                damage += [_damage(entry, item["label"]) for entry in answer["damaged"]]
            pool.finish()
        if damage:
            return damage
        return [
            Finding(
                level="refuse",
                code="content-differs",
                object=contents.relations[number].label,
                message=f"the chunks of {contents.relations[number].label} don't add up to its digest",
            )
            for number, end in contents.ends.items()
            if (rows[number], digests[number]) != (end.rows, int(end.digest, 16))
        ]

    def _items(self) -> Iterator[Message]:
        for section in read_sections(self._spool):
            run: list[Chunk] = []
            for chunk in section.chunks:
                run.append(chunk)
                if sum(held.bytes for held in run) >= ITEM_BYTES:
                    yield _item(section.relation.id, section.relation.label, run)
                    run = []
            if run:
                yield _item(section.relation.id, section.relation.label, run)

    def _references(self) -> list[Finding]:
        """Rotation trusts the references, so they must name exactly the chunks of the parts."""
        named = {
            bytes.fromhex(chunk.id) for section in read_sections(self._spool) for chunk in section.chunks
        }
        try:
            listed = set(read_ids(self._store, self._manifest))
        except (ManifestInvalidError, ObjectCorruptError, ObjectMissingError) as error:
            return [_refusal(error)]
        if named == listed:
            return []
        message = f"the references of {self._manifest.id} aren't the chunks of its parts"
        return [Finding(level="refuse", code="references-differ", object=self._manifest.id, message=message)]

    def _prove(self) -> ProofReport:
        reason = self._not_due()
        if reason is not None:
            return _report("inconclusive", [reason])
        return self._ask_for_proof({})

    def rehearse(self, major: int, report: ProofReport) -> UpgradeReport:
        """Have the backup restored on a newer major version."""
        if report.verdict == "failed":
            doubt = _doubt("no-rehearsal", "the backup itself failed: an upgrade says nothing about it")
            found = _report("inconclusive", [doubt])
        else:
            found = self._ask_for_proof({"major": major})
        verdicts: dict[Verdict, UpgradeVerdict] = {
            "proven": "upgrade-ready",
            "failed": "upgrade-blocked",
            "inconclusive": "inconclusive",
        }
        return UpgradeReport(
            major=major,
            verdict=verdicts[found.verdict],
            reasons=found.reasons,
            compared=found.compared,
            server_version=found.server_version,
        )

    def _ask_for_proof(self, more: dict[str, object]) -> ProofReport:
        seconds = self._ends - ENDING_SECONDS - time.monotonic()
        if seconds < SHORTEST_PROOF:
            return _report("inconclusive", [_doubt("no-time", "there is too little time left for a proof")])
        try:
            checks = read_checks(self._registration, self._store, name=self._manifest.database)
        except (InvalidChecksError, ObjectCorruptError, ObjectMissingError) as error:
            return _report("inconclusive", [_doubt(error.code, f"the owner's checks: {error.message}")])
        ticket = replace(self._ticket(), checks=for_ticket(checks))
        url = issue_ticket(self._store, ticket, self._objects(), seconds=int(seconds) + 60)
        try:
            answer = self._services.invoke_prove(
                {
                    "ticket_url": url,
                    "seconds": min(seconds, 860.0),
                    "major": self._manifest.engine.major,
                    **more,
                },
                seconds + 10,
            )
        except FunctionFailedError as error:
            return _report("inconclusive", [_doubt("proof-not-done", error.message)])
        return ProofReport.model_validate(answer)

    @cached_property
    def _registration(self) -> Registration:
        try:
            return self._services.registry.get(self._manifest.database)
        except UnknownDatabaseError:
            return Registration(secret="-")  # noqa: S106 - a backup outlives its database's registration

    def _not_due(self) -> Finding | None:
        """Why no proof is due by the database's policy; None if one is."""
        registration = self._registration
        if registration.prove == "every":
            return None
        if registration.prove == "daily" and not self._proven_today():
            return None
        return _doubt("not-due", f"not due: the policy proves {registration.prove}")

    def _proven_today(self) -> bool:
        day = backup_time(self._manifest.id).date()
        for other in list_backups(self._store, self._manifest.database):
            if backup_time(other).date() != day:
                continue
            entry = self._services.catalogue.backup(self._manifest.database, other)
            if entry is None or entry.root_hash is None:
                continue
            found = newest_evidence(self._store, self._manifest.database, other, entry.root_hash)
            if found is not None and found.verdict == "proven":
                return True
        return False

    def _ticket(self) -> Ticket:
        key = Layout(self._manifest.database).manifest(self._manifest.id)
        return Ticket(self._manifest.database, self._manifest.id, self._digest, key)

    def _objects(self) -> Iterator[tuple[str, str | None]]:
        """What a proof reads.  Objects behind a delete marker are named with the version that was read."""
        yield self._ticket().manifest, None
        files: list[StoredFile] = [*self._manifest.files, *self._manifest.parts]
        for key in (file.key for file in files):
            yield key, self._hidden.get(key)
        for section in read_sections(self._spool):
            for chunk in section.chunks:
                yield chunk.key, self._hidden.get(chunk.key)

    def _check_time(self) -> None:
        if time.monotonic() > self._ends - ENDING_SECONDS:
            raise DeadlineExceededError(f"{self._manifest.id} could not be read back in the function's time")


def _item(number: int, label: str, run: Sequence[Chunk]) -> Message:
    return {"id": number, "label": label, "chunks": [encode_record(chunk).decode() for chunk in run]}


def _damage(entry: dict[str, str], label: str) -> Finding:
    message = f"{entry['message']} (rows of {label})"
    return Finding(
        level="refuse", code=entry["code"], object=entry["key"], message=message, advice=entry["advice"]
    )


def _refusal(error: CoffreError, what: str = "") -> Finding:
    return Finding(level="refuse", code=error.code, object=what, message=error.message, advice=error.hint)


def _doubt(code: str, message: str) -> Finding:
    return Finding(level="warn", code=code, object="", message=message)


def _bounded(result: VerifyResult, most: int) -> VerifyResult:
    """The result with as many reasons as fit where it goes; the next look finds what is left out."""
    upgrade = result.upgrade
    if upgrade is None:
        return result.model_copy(update={"reasons": _first(result.reasons, most)})
    half = most // 2
    upgrade = upgrade.model_copy(update={"reasons": _first(upgrade.reasons, half)})
    return result.model_copy(update={"reasons": _first(result.reasons, half), "upgrade": upgrade})


def _first(reasons: list[Finding], most: int) -> list[Finding]:
    """The first reasons, and how many more there are; a proof may have left out some already."""
    last = reasons[-1:] if reasons and reasons[-1].code == "more" else []
    left = len(reasons) - len(last) - most
    if left <= 0:
        return reasons
    left += sum(found.count or 0 for found in last)
    more = _doubt("more", f"{left} more findings are left out")
    return [*reasons[:most], more.model_copy(update={"count": left})]


def _report(verdict: Verdict, reasons: list[Finding]) -> ProofReport:
    return ProofReport(verdict=verdict, reasons=reasons, compared=Compared(), server_version="", phases={})
