"""The story, step by step; a step that doesn't do what it says raises."""

from __future__ import annotations

from coffre.catalogue.entries import BackupEntry, from_item
from coffre.results import (
    BackupResult,
    HealthReport,
    HealthResult,
    RestoreResult,
    RotateReport,
    RotateResult,
    VerifyResult,
)
from coffre_cli import show_backups, show_databases, show_local, show_restores
from coffre_cli.output import count, size
from demo import sql
from demo.commands import Coffre
from demo.content import Content, content_of, differences
from demo.errors import DemoError
from demo.follow import Follower
from demo.show import Show
from demo.summary import Facts
from demo.world import MAJOR, World

NAME = "market"
RESTORED = "market_restored"
LOST = "rental.bookings"
HEALTHY = 90


def check(holds: bool, otherwise: str) -> None:
    """Stop the demo if something doesn't hold.

    Raises
    ------
    DemoError
    """
    if not holds:
        raise DemoError(otherwise)


def tell(world: World, show: Show) -> Facts:
    """Run all steps.

    Returns
    -------
    Facts
        For the summary.

    Raises
    ------
    DemoError, CoffreError, LocalCloudError
    """
    coffre = Coffre(world.state, show)
    load(world, show)
    follower = start_cloud(world, show, coffre)
    register(world, show, coffre)
    first, first_proof = scheduled_backup(show, coffre, follower)
    second, content = second_backup(world, show, coffre)
    second_proof = follow_second_proof(show, follower, second, first_proof)
    rotation = rotate(show, coffre, first.backup_id, second.backup_id)
    score_without = accident(world, show, coffre)
    restored = restore(world, show, coffre, second.backup_id)
    compare(world, show, content)
    score = swap_and_examine(world, show, coffre)
    follower.settle()
    return Facts(
        first, second, (first_proof, second_proof), rotation, restored, content, score_without, score
    )


def load(world: World, show: Show) -> None:
    """Start PostgreSQL and load the sample."""
    show.step(f"A PostgreSQL {MAJOR} with a rental marketplace in it")
    with show.bars() as bars:
        bars.update("PostgreSQL", note="put together from its wheel")
        world.assemble()
        world.start_server()
        bars.update("PostgreSQL", 1, 1, "started")
        sql.load_sample(
            world.place, NAME, lambda loaded: bars.update("sample", loaded, sql.SAMPLE_BYTES, size(loaded))
        )
    [[on_disk]] = sql.execute(world.place, NAME, "SELECT pg_database_size(current_database())")
    show.done(f"PostgreSQL {MAJOR} runs; the sample is loaded: {size(on_disk)} on its disk")


def start_cloud(world: World, show: Show, coffre: Coffre) -> Follower:
    """Start the local cloud."""
    show.step("The local cloud: the real template.yaml on this machine")
    info = coffre("local", "up", "--detach")
    show.result(show_local.local_cloud(info))
    return Follower(info, world.state, NAME, show)


def register(world: World, show: Show, coffre: Coffre) -> None:
    """Register the database as a user would."""
    show.step("Register the database")
    url = world.place.url(NAME)
    retention = ("--retention", "keep_last=1", "--retention", "cap=1")
    coffre("databases", "add", NAME, "--url", url, "--critical-table", LOST, *retention)
    ready = coffre("databases", "check", NAME)["ready"]
    check(ready, "the database isn't ready for a backup")
    show.done("ready: the role reads everything, nothing speaks against a backup")


def scheduled_backup(show: Show, coffre: Coffre, follower: Follower) -> tuple[BackupEntry, VerifyResult]:
    """Fire the daily schedule and follow what comes of it."""
    show.step("The daily schedule fires, and the rest happens by itself")
    coffre("local", "fire", "backup-daily")
    entry = follower.backup()
    show.done(
        f"backup {entry.backup_id}: {count(entry.rows)} rows, {size(entry.bytes)}, "
        f"stored as {size(entry.stored_bytes)} in {count(entry.chunks)} chunks"
    )
    proof = follower.proof(entry.backup_id)
    show.result(show_backups.verification(proof))
    check(proof.rows == entry.rows, f"the proof saw {proof.rows} rows, the backup {entry.rows}")
    return entry, proof


def second_backup(world: World, show: Show, coffre: Coffre) -> tuple[BackupResult, Content]:
    """Change some rows, and back up again."""
    show.step("A day of business, and a second backup")
    with show.bars() as bars:
        bars.update("business", note="bookings, payments, messages, new prices")
        sql.run_file(world.place, NAME, "changes.sql")
        bars.update("fingerprint", note="of every row and definition, by SQL alone, for later")
        expected = content_of(world.place, NAME)
    show.done("new bookings, payments and messages, other prices, a few deletions")
    backup = BackupResult.model_validate(coffre("backup", NAME, "--wait"))
    show.result(show_backups.backup(backup))
    check(
        backup.rows == expected.table_rows,
        f"the backup holds {backup.rows} rows, the database {expected.table_rows}",
    )
    share = backup.new_bytes / backup.stored_bytes
    check(0 < share < 0.5, f"{share:.0%} of the second backup was stored anew")
    show.done(f"only {size(backup.new_bytes)} of {size(backup.stored_bytes)} ({share:.0%}) had to be stored")
    return backup, expected


def follow_second_proof(
    show: Show, follower: Follower, backup: BackupResult, first: VerifyResult
) -> VerifyResult:
    """Follow the proof of the second backup."""
    proof = follower.proof(backup.backup_id)
    check(proof.root_hash == backup.root_hash, "the proof is about another backup")
    check(proof.compared.tables == first.compared.tables, "the proof compared other tables than the first")
    show.done(f"proven: {count(proof.rows)} rows in {count(proof.compared.tables)} tables are equal")
    return proof


def rotate(show: Show, coffre: Coffre, older: str, newer: str) -> RotateReport:
    """Apply the retention to two backups: dry run, then real."""
    show.step("Rotate: keep what the retention says, and say why")
    dry = rotated(coffre, "--dry-run")
    show.result(show_backups.rotation(RotateResult(reports=[dry])))
    left = listed(show, coffre)
    check(left == [newer, older], f"after a dry run there are {left}")
    real = rotated(coffre)
    show.result(show_backups.rotation(RotateResult(reports=[real])))
    actions = {decision.backup_id: decision.action for decision in real.decisions}
    check(actions == {newer: "keep", older: "delete"}, f"the rotation decided {actions}")
    check(
        [(d.backup_id, d.action, d.frees_bytes) for d in dry.decisions]
        == [(d.backup_id, d.action, d.frees_bytes) for d in real.decisions],
        "the rotation did something else than its dry run said",
    )
    left = listed(show, coffre)
    check(left == [newer], f"after the rotation there are {left}")
    show.done("the first backup is gone, the second stands alone: no chain, no base that it needs")
    show.say("Its own chunks stay until no run can need them any more (MaxRunSeconds); then they go, too.")
    return real


def rotated(coffre: Coffre, *options: str) -> RotateReport:
    """The report of one rotation."""
    result = RotateResult.model_validate(coffre("rotate", NAME, *options))
    check(len(result.reports) == 1, f"the rotation reports on {len(result.reports)} databases, not 1")
    return result.reports[0]


def listed(show: Show, coffre: Coffre) -> list[str]:
    """The ids of the backups there are, newest first."""
    entries = [from_item(BackupEntry, NAME, entry) for entry in coffre("list", NAME)["backups"]]
    show.result(show_backups.backups(entries))
    return [entry.backup_id for entry in entries]


def accident(world: World, show: Show, coffre: Coffre) -> int:
    """Lose a table, and see that health notices; its score."""
    show.step("An accident")
    show.sql(NAME, f"DROP TABLE {LOST} CASCADE")
    sql.run_file(world.place, NAME, "accident.sql")
    report = examined(coffre, expect=1)
    show.result(show_databases.health(HealthResult(databases=[report])))
    codes = [reason.code for reason in report.reasons]
    check("critical-table-missing" in codes, f"health doesn't notice the loss; it says {codes}")
    return report.score


def restore(world: World, show: Show, coffre: Coffre, expected: str) -> RestoreResult:
    """Restore the newest backup beside the damaged database."""
    show.step("Restore into a new database; the damaged one stays as it is")
    target = world.place.url(RESTORED)
    answer = coffre("restore", NAME, "latest", "--to", target, "--yes", "--wait")
    result = RestoreResult.model_validate(answer)
    show.result(show_restores.restored(result, result.findings))
    check(result.digests_equal, "the restored digests aren't the backup's")
    check(result.backup_id == expected, f"{result.backup_id} was restored, not {expected}")
    return result


def compare(world: World, show: Show, expected: Content) -> None:
    """Compare with what the database held before the accident, without any code of Coffre."""
    show.step("Is it the same? Asked by SQL, not by Coffre")
    with show.bars() as bars:
        bars.update("fingerprint", note="of every row and definition")
        found = content_of(world.place, RESTORED)
    wrong = differences(expected, found)
    check(not wrong, f"{len(wrong)} differences: " + "; ".join(wrong[:5]))
    show.done(
        f"equal: {count(found.table_rows)} rows in {count(found.tables)} tables, and "
        f"{count(len(found.objects))} definitions, sequences, large objects, grants and comments"
    )


def swap_and_examine(world: World, show: Show, coffre: Coffre) -> int:
    """Put the restored database in the damaged one's place, and look at its health; its score."""
    show.step("Swap the names, and look at the health")
    for old, new in ((NAME, f"{NAME}_damaged"), (RESTORED, NAME)):
        statement = f"ALTER DATABASE {old} RENAME TO {new}"
        show.sql("postgres", statement)
        sql.execute(world.place, "postgres", statement)
    report = examined(coffre)
    show.result(show_databases.health(HealthResult(databases=[report])))
    check(report.score >= HEALTHY, f"the health is {report.score} of 100")
    return report.score


def examined(coffre: Coffre, expect: int = 0) -> HealthReport:
    """The health of the database."""
    return HealthResult.model_validate(coffre("health", NAME, expect=expect)).databases[0]
