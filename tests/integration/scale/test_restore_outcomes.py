"""How restores on the state machine end: whole, refused, damaged, tampered with, too late, told once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.errors import (
    CoffreError,
    DeadlineExceededError,
    FunctionUnavailableError,
    NothingToResumeError,
    PlanChangedError,
    RestoreExceptionsError,
    RestoreIncompleteError,
    RestoreMismatchError,
    RestoreOverError,
    RestoreStoppedError,
    RestoreTooLargeError,
    RunOfAnotherVersionError,
)
from coffre.ids import utc_now
from coffre.notify.publisher import Publisher
from coffre.restore import check, estimate, machine
from tests.fakes.dynamodb import MemoryDynamo, MemoryEvents
from tests.fakes.kms import KEY
from tests.fakes.store import MemoryStore
from tests.fakes.tables import TABLE
from tests.integration.scale.desk import content
from tests.integration.scale.steps import Hand, KilledError, dying
from tests.support.postgres import create, databases, sql, target
from tests.support.vault import SECONDS, Verbs
from tests.support.versions import OTHERS, begun_by_another

VIOLATED = """
CREATE FUNCTION fits(n int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
CREATE TABLE checked (n int CONSTRAINT fits CHECK (public.fits(n)));
CREATE TABLE parents (id int);
CREATE TABLE children (parent int);
INSERT INTO checked SELECT generate_series(1, 20);
INSERT INTO children VALUES (1), (2);
INSERT INTO parents VALUES (1);
ALTER TABLE parents ADD PRIMARY KEY (id);
ALTER TABLE children ADD CONSTRAINT known FOREIGN KEY (parent) REFERENCES parents NOT VALID;
UPDATE pg_constraint SET convalidated = true WHERE conname = 'known';
SELECT lo_from_bytea(0, 'large');
CREATE OR REPLACE FUNCTION fits(n int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN n <= 15; END';
"""


class Small:
    """A small database that breaks its own rules, its backup, and restores of it."""

    def __init__(self, server: EphemeralServer, root: Path, scratch: Path) -> None:
        self.server = server
        self.catalogue = Catalogue(MemoryDynamo(), TABLE)
        self.store = MemoryStore()
        self.verbs = Verbs(self.store, root, scratch, self.catalogue)
        self.source = create(server, "violated", VIOLATED)
        self.verbs.backup(self.source)

    def hand(self, name: str) -> Hand:
        """A restore into a new database, whose workers have time."""
        made = Hand(self.verbs, self.catalogue, target(self.server, name))
        made.working_seconds = 60.0
        return made

    def newest(self) -> RestoreEntry:
        """The last entry of the history."""
        return next(self.catalogue.restores("shop"))


@pytest.fixture(scope="module")
def small(server: EphemeralServer, postgres_root: Path, scratch_root: Path) -> Small:
    return Small(server, postgres_root, scratch_root)


def test_what_the_source_violates_is_named_and_left_out_only_if_that_is_accepted(small: Small) -> None:
    refused = small.hand("refused")
    refused.confirm()
    with pytest.raises(RestoreExceptionsError, match="5 rows violate it") as error:
        refused.go()
    refused.fail(error.value)
    assert (small.newest().status, small.newest().error_code) == ("failed", "restore-exceptions")
    accepted = small.hand("accepted")
    accepted.confirm(exceptions="accept")
    answer = accepted.go()
    found = {one["code"]: one["count"] for one in answer["exceptions"]}
    assert found == {"exception-check": 5, "exception-foreign-key": 1}
    assert small.newest().exceptions == 2
    assert content(accepted.wanted) == content(small.source)
    valid = "SELECT conname::text, convalidated FROM pg_constraint WHERE conname IN ('fits', 'known')"
    assert sorted(sql(accepted.wanted, valid)) == [["fits", False], ["known", False]]


def test_items_that_come_twice_at_once_load_and_count_once(small: Small) -> None:
    hand = small.hand("doubled")
    hand.confirm(exceptions="accept")

    def twice(planned: dict[str, Any]) -> None:
        with ThreadPoolExecutor(2) as threads:
            for item in planned["items"]:
                assert [one for one in threads.map(hand.item, [item, item]) if one] == []

    hand._items = twice  # type: ignore[method-assign]
    assert hand.go()["rows"] == 23
    assert content(hand.wanted) == content(small.source)
    state = small.catalogue.ledger("shop", hand.token[:12]).read()
    assert state is not None
    assert state.rows == 23


def test_a_chunk_that_is_damaged_fails_it_with_its_cause_and_healed_it_goes_on(small: Small) -> None:
    hand = small.hand("damaged")
    hand.confirm(exceptions="accept")
    (chunk, *_) = (key for key in small.store.keys() if "/chunks/" in key)  # noqa: SIM118 - not a mapping
    small.store.tamper(chunk, lambda sound: bytes(reversed(sound)))
    with pytest.raises(CoffreError) as error:
        hand.go()
    cause = error.value.code
    hand.fail(RestoreIncompleteError("rows are missing"))  # as a machine says whose worker failed
    assert (small.newest().status, small.newest().error_code) == ("failed", cause)
    assert hand.wanted.database not in databases(small.server)
    small.store.tamper(chunk, lambda damaged: bytes(reversed(damaged)))
    hand.resume()
    assert hand.go()["status"] == "completed"
    assert content(hand.wanted) == content(small.source)


def test_what_a_worker_of_an_earlier_try_failed_with_is_no_cause_of_the_next_failure(small: Small) -> None:
    hand = small.hand("resumed")
    hand.confirm(exceptions="accept")
    hand.step("prepare")
    (chunk, *_) = (key for key in small.store.keys() if "/chunks/" in key)  # noqa: SIM118 - not a mapping
    small.store.tamper(chunk, lambda sound: bytes(reversed(sound)))
    with pytest.raises(CoffreError) as error:
        hand._items(hand.step("rows"))
    hand.fail(RestoreIncompleteError("rows are missing"))
    assert small.newest().error_code == error.value.code
    small.store.tamper(chunk, lambda damaged: bytes(reversed(damaged)))
    hand.resume()
    hand.fail(FunctionUnavailableError("AWS Lambda didn't run a function"))
    assert small.newest().error_code == "function-unavailable"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE parents SET id = 7", r"public\.parents"),
        ("SELECT lo_put(oid, 0, 'other') FROM pg_largeobject_metadata", "pg_largeobject"),
    ],
)
def test_content_that_somebody_changes_meanwhile_is_found_and_gets_no_name(
    small: Small, change: str, what: str
) -> None:
    hand = small.hand("tampered")
    hand.confirm(exceptions="accept")
    items = hand._items

    def tampered(planned: dict[str, Any]) -> None:
        items(planned)
        if planned["items"][0]["kind"] == "rows":
            working = replace(hand.wanted, database=f"tampered_restoring_{hand.token[:12]}")
            sql(working, change)

    hand._items = tampered  # type: ignore[method-assign]
    with pytest.raises(RestoreMismatchError, match=what):
        hand.go()
    assert "tampered" not in databases(small.server)


def test_it_takes_a_place_last_of_all_and_not_that_of_another_database(small: Small) -> None:
    create(small.server, "taken", "CREATE TABLE old (n int)")
    swapped = small.hand("taken")
    swapped.confirm(exceptions="accept", mode="swap", safety="skip")
    answer = swapped.go()
    assert sql(target(small.server, answer["kept_as"]), "SELECT count(*) FROM old") == [[0]]
    assert content(target(small.server, "taken")) == content(small.source)
    assert small.newest().kind == "swap"
    late = small.hand("taken")
    late.confirm(exceptions="accept", mode="swap", safety="skip")
    sql(target(small.server, "postgres"), 'ALTER DATABASE "taken" RENAME TO "gone"')
    create(small.server, "taken", "CREATE TABLE another (n int)")
    with pytest.raises(PlanChangedError):
        late.go()
    assert sql(target(small.server, "taken"), "SELECT count(*) FROM another") == [[0]]


def test_a_database_that_is_there_is_not_filled_under_its_own_name(small: Small) -> None:
    create(small.server, "there")
    with pytest.raises(RestoreTooLargeError, match="is there already"):
        small.hand("there").confirm()


def test_it_goes_on_at_no_other_place_than_was_planned(small: Small) -> None:
    hand = small.hand("one place")
    hand.confirm(exceptions="accept")
    hand.fail(RestoreStoppedError("stopped"))
    hand.wanted = target(small.server, "another place")
    with pytest.raises(PlanChangedError):
        hand.resume()


@pytest.mark.parametrize("version", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("step", ["prepare", "rows", "load", "finish"])
def test_what_another_version_began_is_given_up_and_neither_goes_on_nor_looks_finished(
    small: Small, version: int | None, step: str
) -> None:
    """Functions were deployed, or an older version was, while it went on."""
    hand = small.hand("deployed")
    hand.confirm(exceptions="accept")
    if step != "prepare":
        hand.step("prepare")
    begun_by_another(small.catalogue.ledger("shop", hand.token[:12]), version)
    with pytest.raises(RunOfAnotherVersionError, match="another version of Coffre") as error:
        if step == "load":
            hand.item({"kind": "rows", "number": 1, "part": 1, "first": 0, "end": 1})
        else:
            hand.step(step)
    hand.fail(error.value)
    assert (small.newest().status, small.newest().error_code) == ("failed", "run-of-another-version")
    assert not hand.live()
    with pytest.raises(RunOfAnotherVersionError) as error:
        hand.resume()
    assert "Ask for a new plan" in error.value.hint
    assert "deployed" not in databases(small.server)
    again = small.hand("deployed")
    again.confirm(exceptions="accept")
    assert again.go()["status"] == "completed"
    sql(target(small.server, "postgres"), 'DROP DATABASE "deployed"')


def test_what_was_never_begun_or_has_not_failed_does_not_go_on(small: Small) -> None:
    hand = small.hand("going on")
    hand.confirm(exceptions="accept")
    with pytest.raises(NothingToResumeError):
        hand.resume()
    hand.token = "f" * 40
    with pytest.raises(NothingToResumeError):
        hand.resume()


def test_tables_that_do_not_fit_into_one_function_say_so_and_what_to_do(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(small.server, "beside")
    asked: dict[str, Any] = {"mode": "tables", "tables": ["public.parents"]}
    where = target(small.server, "beside")
    monkeypatch.setattr(estimate, "ASSUMED_BYTES_PER_SECOND", 0.01)
    with pytest.raises(RestoreTooLargeError, match="one function only") as error:
        small.verbs.restore(where, **asked)
    assert "Restore all into a new database" in error.value.hint
    assert small.verbs.restore(where, **asked, runs="function").rows == 1


def test_everybody_knows_which_backup_it_reads_until_it_ends(small: Small) -> None:
    hand = small.hand("reading")
    hand.confirm(exceptions="accept")
    (run,) = hand.live()
    assert (run.kind, run.backup_id) == ("restore", small.verbs.manifest().id)
    hand.go()
    assert not hand.live()


def test_it_ends_before_the_time_is_over_that_rotation_waits_for_it(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = small.hand("too late")
    hand.confirm(exceptions="accept")
    monkeypatch.setattr(machine, "utc_now", lambda: utc_now() + timedelta(seconds=SECONDS + 1))
    with pytest.raises(DeadlineExceededError):
        hand.go()
    assert "too late" not in databases(small.server)


def test_a_worker_of_an_execution_that_was_stopped_changes_nothing_when_another_goes_on(small: Small) -> None:
    hand = small.hand("twice")
    hand.confirm(exceptions="accept")
    stopped = dict(hand.given)
    hand.fail(RestoreStoppedError("stopped"))
    hand.resume()
    hand.given, going_on = stopped, dict(hand.given)
    with pytest.raises(RestoreOverError):
        hand.item({"kind": "rows", "number": 1, "part": 1, "first": 0, "end": 1})
    hand.fail(RestoreStoppedError("told late"))
    hand.given = going_on
    assert hand.go()["status"] == "completed"


@pytest.mark.parametrize(
    ("of", "call"), [(Catalogue, "record_restore"), (Publisher, "publish"), (Catalogue, "end_run")]
)
@pytest.mark.parametrize("ends", ["well", "badly"])
def test_an_end_that_could_not_be_told_whole_is_told_by_the_next_try_and_once(
    small: Small, monkeypatch: pytest.MonkeyPatch, of: type, call: str, ends: str
) -> None:
    hand, bus = small.hand(f"untold {call} {ends}"), MemoryEvents()
    hand.services = replace(hand.services, publisher=Publisher(bus, "default", "stack"))
    hand.confirm(exceptions="accept")

    def end() -> object:
        return hand.go() if ends == "well" else hand.fail(RestoreStoppedError("stopped"))

    with monkeypatch.context() as patch:
        patch.setattr(of, call, dying(1, getattr(of, call), [0]))
        with pytest.raises(KilledError):
            end()
    for _ in range(2):
        hand.step("finish", report={}) if ends == "well" else end()
    kept = [entry.error_code for entry in small.catalogue.restores("shop") if entry.token == hand.token]
    assert kept == ([None] if ends == "well" else ["restore-stopped"])
    told = [event["DetailType"] for event in bus.entries]
    assert told == (["Restore Completed"] if ends == "well" else ["Restore Failed"])
    assert not hand.live()


@pytest.mark.parametrize("roles", ["mine", "keep"])
def test_a_role_that_is_no_superuser_restores_all_the_same(small: Small, roles: str) -> None:
    name = f"builder {roles}"
    sql(target(small.server, "postgres"), f'CREATE ROLE "{name}" LOGIN CREATEDB CREATEROLE IN ROLE customer')
    hand = small.hand(name)
    hand.wanted = replace(hand.wanted, user=name)
    hand.confirm(exceptions="accept", roles=roles)
    assert hand.go()["digests_equal"]
    assert content(hand.wanted) == content(small.source)
    owners = sql(hand.wanted, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [[name if roles == "mine" else "customer"]]


def test_statistics_that_take_longer_than_a_function_go_on_where_they_were(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = small.hand("unhurried")
    hand.confirm(exceptions="accept")
    analyzed: list[str] = []
    clock, run = SimpleNamespace(now=0.0), Session.run
    monkeypatch.setattr(check, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def slowly(session: Session, statement: str, **more: Any) -> Any:
        if statement.startswith("ANALYZE"):
            analyzed.append(statement)
            clock.now += SECONDS
        return run(session, statement, **more)

    monkeypatch.setattr(Session, "run", slowly)
    hand.go()
    assert len(analyzed) == len(set(analyzed)) == hand.calls.count("check") == 3


def test_a_sealed_backup_is_opened_by_every_worker(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path
) -> None:
    catalogue = Catalogue(MemoryDynamo(), TABLE)
    verbs = Verbs(MemoryStore(), postgres_root, scratch_root, catalogue)
    source = create(server, "sealed", "CREATE TABLE secrets AS SELECT n FROM generate_series(1, 9) n")
    sql(source, "ALTER TABLE secrets ADD PRIMARY KEY (n)")
    verbs.backup(source, seal_key=KEY)
    assert verbs.manifest().seal is not None
    hand = Hand(verbs, catalogue, target(server, "unsealed"))
    hand.confirm()
    assert hand.go()["digests_equal"]
    assert content(hand.wanted) == content(source)
