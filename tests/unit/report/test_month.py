"""What a month's report says, and when it is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from coffre.databases.registration import Registration
from coffre.errors import InvalidRegistrationError, MetricsUnavailableError, UnknownDatabaseError
from coffre.ids import stamp
from coffre.report.month import Month
from coffre.report.page import monthly_page
from coffre.report.scores import DayScore
from coffre.results import Finding, MonthlyReport
from tests.fakes.kms import KEY
from tests.fakes.vault import make_rehearsal
from tests.unit.report.conftest import DECEMBER, NAME, NOVEMBER, World

JSON, PAGE = f"{NAME}/reports/2026-11.json", f"{NAME}/reports/2026-11.html"


def on(day: int, hour: int = 3) -> datetime:
    """A moment of November."""
    return NOVEMBER + timedelta(days=day - 1, hours=hour)


def finding(code: str, name: str, level: str = "refuse") -> Finding:
    """Something that a proof found."""
    return Finding.model_validate(
        {"level": level, "code": code, "object": name, "message": f"{name} is wrong"}
    )


def report(world: World, now: datetime = DECEMBER) -> MonthlyReport:
    """November, told on this day."""
    found = world.report(now=now).report
    assert found is not None
    return found


def test_months_begin_and_end_in_utc_and_the_last_one_is_over() -> None:
    assert str(Month.before(datetime(2027, 1, 1, tzinfo=UTC))) == "2026-12"
    assert str(Month.before(datetime(2026, 12, 31, 23, 59, tzinfo=UTC))) == "2026-11"
    december = Month.parse("2026-12")
    assert (december.ends, len(december.days)) == (datetime(2027, 1, 1, tzinfo=UTC), 31)
    assert str(Month.parse("2027-01").previous) == "2026-12"


def test_it_counts_what_was_taken_failed_proven_and_refuted(world: World) -> None:
    world.backup(on(1) - timedelta(days=1))
    for day in range(1, 31):
        world.backup(on(day), {10: "failed", 11: "inconclusive", 12: None}.get(day, "proven"))  # type: ignore[arg-type]
    world.catalogue.begin(NAME, "20261115T040000Z-manual-000000", "manual", on(15, 4))
    world.catalogue.fail(NAME, "20261115T040000Z-manual-000000", "connection-lost", "gone")
    last = world.backup(on(30) + timedelta(days=1))
    found = report(world)
    assert (found.taken, found.failed) == (30, 1)
    assert (found.proven, found.refuted, found.inconclusive, found.unverified) == (27, 1, 1, 1)
    assert found.by_type == {"daily": 30}
    assert last not in (found.newest_backup, found.newest_proof), "what came later isn't in it"
    assert (found.days[9].refuted, found.days[14].failed, found.days[11].proven) == (1, 1, 0)
    assert sum(day.taken for day in found.days) == 30
    assert found.new_bytes == sum(day.new_bytes for day in found.days) > 0


def test_samples_are_counted_among_the_inconclusive(world: World) -> None:
    sampled = finding("sampled", "shop", "warn").model_copy(update={"message": "sampled 3 of 7 tables, 41 %"})
    world.backup(on(1), "inconclusive", (sampled,))
    world.backup(on(2), "inconclusive", (finding("needs", "postgis", "warn"), sampled))
    found = report(world)
    assert (found.proven, found.inconclusive, found.sampled, found.newest_proof) == (0, 2, 1, None)
    assert "2 inconclusive (1 by sample)" in monthly_page(found)


def test_objectives_are_judged_by_the_worst_moment_and_by_measured_restores(world: World) -> None:
    for day in range(1, 31):
        world.backup(on(day))
    assert report(world, on(30, 12)).verdict == "inconclusive", "no restore was measured"
    world.restored(on(20), 60)
    assert report(world, on(30, 12)).verdict == "met"
    world.restored(on(21), 3600)
    assert report(world, on(30, 12)).verdict == "missed", "a restore took longer than ten minutes"
    world.registry.known[NAME] = Registration(secret="s", rpo_hours=26)
    assert report(world, on(30, 12)).verdict == "inconclusive", "nobody says how long a restore may take"
    world.registry.known[NAME] = Registration(secret="s", rpo_hours=1)
    assert report(world, on(30, 12)).verdict == "missed"


def test_a_month_without_anything_is_not_flattered(world: World) -> None:
    found = report(world)
    assert (found.verdict, found.taken, found.newest_backup, found.lowest_score) == ("missed", 0, None, None)
    page = world.store.read(PAGE, limit=1 << 20).decode()
    for words in ("RPO missed", "no score was recorded", "no backup, so no size is known", "No drill and no"):
        assert words in page


def test_restores_and_drills_of_the_month_are_listed_with_what_they_left_out(world: World) -> None:
    world.restored(on(1) - timedelta(days=1), 9)
    world.restored(on(5), 10, exceptions=2)
    world.restored(on(6), 0, status="failed", error_code="object-missing")
    world.restored(on(7), 3, "proof")
    found = report(world).restores
    assert [(one.kind, one.status, one.exceptions, one.error_code) for one in found] == [
        ("proof", "completed", 0, None),
        ("drill", "failed", 0, "object-missing"),
        ("drill", "completed", 2, None),
    ]
    assert found[2].seconds == 10


def test_proofs_crowd_no_restore_out(world: World) -> None:
    world.restored(NOVEMBER + timedelta(days=4), 9000, "swap", status="failed", error_code="disk-full")
    world.restored(NOVEMBER + timedelta(days=6), 3000, "drill")
    for hour in range(150):
        world.restored(NOVEMBER + timedelta(days=7, hours=hour), 5, "proof")
    found = report(world)
    assert [one.kind for one in found.restores if one.kind != "proof"] == ["drill", "swap"]
    assert (found.proofs, found.restores_left_out) == (150, 50)
    assert "No drill and no restore" not in monthly_page(found)


def test_upgrades_that_were_rehearsed_are_listed_and_none_counts_as_a_proof(world: World) -> None:
    identifier = world.backup(on(3), None)
    for day, verdict in ((4, "upgrade-ready"), (5, "upgrade-blocked")):
        world.catalogue.record_rehearsal(
            make_rehearsal(identifier, stamp(on(day)), verdict, database=NAME)  # type: ignore[arg-type]
        )
    world.catalogue.record_rehearsal(
        make_rehearsal(identifier, stamp(NOVEMBER - timedelta(days=1)), "upgrade-ready", database=NAME)
    )
    found = report(world)
    assert [(one.from_version, one.major, one.verdict, one.findings) for one in found.rehearsals] == [
        ("16.14", 18, "upgrade-blocked", 1),
        ("16.14", 18, "upgrade-ready", 0),
    ]
    assert (found.proven, found.proofs, found.unverified, found.restores) == (0, 0, 1, [])
    page = monthly_page(found)
    for words in (
        "Upgrades rehearsed",
        "16.14 to 18",
        "public.by_old: gone in 17",
        found.rehearsals[0].evidence,
    ):
        assert words in page


def test_a_run_of_which_nothing_was_heard_any_more_failed(world: World) -> None:
    for day, identifier in ((10, "20261110T120000Z-daily-abcdef"), (30, "20261130T230000Z-daily-abcdef")):
        world.catalogue.begin(NAME, identifier, "daily", NOVEMBER + timedelta(days=day - 1, hours=23))
    assert report(world).failed == 1, "the month's last one may go on still"


def test_a_report_on_a_sealed_database_names_nothing(world: World) -> None:
    world.registry.known[NAME] = Registration(secret="s", seal_key=KEY)
    world.backup(on(3), "failed", (finding("exception-constraint", "public.orders positive"),))
    world.catalogue.record_rehearsal(
        make_rehearsal("20261103T030000Z-daily-abcdef", stamp(on(4)), "upgrade-blocked", database=NAME)
    )
    told = report(world)
    (found,) = told.exceptions
    assert "by_old" not in told.model_dump_json()
    assert (found.code, found.object, found.count) == ("exception-constraint", "", 1)
    assert "orders" not in found.message


def test_exceptions_are_named_once_with_the_number_of_backups(world: World) -> None:
    broken = finding("exception-constraint", "public.orders positive")
    told = (finding("restores-with-exceptions", "b"), broken)
    world.backup(on(3), "failed", told)
    world.backup(on(4), "failed", (*told, finding("exception-index", "public.orders_total")))
    named = {one.object: (one.code, one.count) for one in report(world).exceptions}
    assert named == {
        "public.orders positive": ("exception-constraint", 2),
        "public.orders_total": ("exception-index", 1),
    }


def test_damage_is_told_in_the_month_in_which_it_was_found(world: World) -> None:
    hurt = world.backup(on(3), "failed", (finding("chunk-damaged", "c1"), finding("chunk-damaged", "c2")))
    (damage,) = report(world).damage
    assert (damage.object, damage.code, damage.count) == (hurt, "chunk-damaged", 2)
    assert world.report("2026-10").report.damage == []  # type: ignore[union-attr]


def test_rotations_and_what_they_free_are_counted(world: World) -> None:
    for day, size in ((4, 100), (5, 23)):
        world.store.now = on(day)
        world.catalogue.audit(NAME, "delete", f"b{day}", {"reasons": "old", "frees_bytes": str(size)})
    world.catalogue.audit(NAME, "restore", "b9", {})
    world.store.advance(seconds=1)
    world.catalogue.audit(NAME, "delete", "b10", {"reasons": "old", "frees_bytes": "7"})
    world.store.advance(seconds=1)
    world.catalogue.audit(NAME, "keep", "b10", {"reasons": "held"})
    found = report(world)
    assert (found.rotated, found.freed_bytes) == (2, 123)


def test_the_vault_grows_against_the_month_before(world: World) -> None:
    world.backup(on(1))
    first = world.report(now=DECEMBER).report
    assert first is not None
    held = sum(item.size for item in world.store.objects(f"{NAME}/") if "/reports/" not in item.key)
    assert (first.vault.bytes, first.vault_before) == (held, None)
    world.backup(DECEMBER, text="x" * 1000)
    second = world.report("2026-12", DECEMBER + timedelta(days=31)).report
    assert second is not None
    assert second.vault_before == first.vault
    assert second.vault.bytes > first.vault.bytes


def test_scores_are_those_of_the_month(world: World) -> None:
    world.scores.days = {date(2026, 11, day): DayScore(90, 95) for day in range(1, 31)}
    world.scores.days |= {date(2026, 11, 2): DayScore(70, 80), date(2026, 12, 1): DayScore(0, 0)}
    found = report(world)
    assert (found.lowest_score, found.mean_score, found.days[1].lowest_score) == (70, 94.5, 70)
    assert (found.scored_days, found.scored_of) == (30, 30)
    assert "70 at the lowest, 94 on average." in monthly_page(found)


def test_a_month_with_holes_says_of_how_many_days_its_scores_are_and_tells_no_average(world: World) -> None:
    world.scores.days = {date(2026, 11, day): DayScore(98, 99) for day in range(8, 31)}
    found = report(world)
    assert (found.lowest_score, found.mean_score, found.scored_days, found.scored_of) == (98, None, 23, 30)
    page = monthly_page(found)
    assert "98 at the lowest; scores of 23 of 30 days." in page
    assert 'class="tile fair"><b>98</b><span>lowest health score, of 100, on 23 of 30 days' in page


def test_days_to_come_are_no_holes_and_the_present_one_only_counts_if_it_has_a_score(world: World) -> None:
    world.scores.days = {date(2026, 11, day): DayScore(98, 99) for day in (1, 2)}
    for now, numbers in ((on(3, 1), (2, 2)), (on(4, 1), (2, 3))):
        found = report(world, now)
        assert (found.scored_days, found.scored_of) == numbers
    world.scores.days[date(2026, 11, 4)] = DayScore(98, 99)
    found = report(world, on(4, 1))
    assert (found.scored_days, found.scored_of, found.mean_score) == (3, 4, None)


def test_a_month_that_is_over_is_written_once_as_json_and_as_a_page(world: World) -> None:
    world.backup(on(1))
    first = world.report()
    assert (first.status, first.keys) == ("written", [JSON, PAGE])
    world.backup(on(2))
    again = world.report()
    assert (again.status, again.report) == ("exists", first.report)
    assert [name for name, _ in world.heard.events] == ["Report Written"]
    told = world.heard.events[0][1]
    assert (told["database"], told["month"], told["taken"], told["keys"]) == (
        NAME,
        "2026-11",
        1,
        [JSON, PAGE],
    )
    kept = json.loads(world.store.read(JSON, limit=1 << 20))
    assert MonthlyReport.model_validate(kept) == first.report


def test_a_month_that_goes_on_is_reported_and_not_written(world: World) -> None:
    world.backup(on(1))
    found = world.report(now=on(2))
    assert (found.status, found.keys) == ("unfinished", [])
    assert list(world.store.objects(f"{NAME}/reports/")) == []
    assert world.heard.events == []


def test_a_run_that_broke_off_before_the_page_is_finished_by_the_next(world: World) -> None:
    first = world.report()
    body = world.store.read(JSON, limit=1 << 20)
    world.store = replace_store = type(world.store)(now=DECEMBER)
    world.services = replace(world.services, store=replace_store)  # type: ignore[arg-type]
    replace_store.put_new(JSON, body, size=len(body), sha256=hashlib.sha256(body).hexdigest())
    world.backup(on(9))
    again = world.report()
    assert (again.status, again.report) == ("written", first.report)
    assert first.report is not None
    assert world.store.read(PAGE, limit=1 << 20)


def test_a_registration_that_is_not_valid_keeps_no_other_database_from_its_report(world: World) -> None:
    world.registry.invalid["other"] = InvalidRegistrationError("the registration of other is not JSON")
    result = world.run()
    assert [one.database for one in result.reports] == [NAME]
    assert result.failed == {"other": str(world.registry.invalid["other"])}


def test_one_database_that_fails_does_not_keep_the_others_from_theirs(world: World) -> None:
    world.registry.known["other"] = Registration(secret="s")
    world.scores.error = MetricsUnavailableError("CloudWatch answered Throttling")
    result = world.run()
    assert sorted(result.failed) == ["other", NAME]
    assert "Throttling" in result.failed[NAME]
    world.scores.error = None
    result = world.run()
    assert [(one.database, one.month, one.report) for one in result.reports] == [
        (NAME, "2026-11", None),
        ("other", "2026-11", None),
    ]
    with pytest.raises(UnknownDatabaseError):
        world.run(database="nobody")
