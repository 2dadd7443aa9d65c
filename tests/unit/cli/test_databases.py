"""`coffre databases`: nothing is written before it is checked, and no password is shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import boto3
import pytest

from coffre.databases.registry import Registry
from tests.fakes.kms import KEY, OTHER_KEY
from tests.unit.cli.conftest import STACK, World

URL = "postgresql://reader:hidden@db.example:5432/shop"
PARAMETER = f"/coffre/{STACK}/databases/shop"
SECRET = f"coffre/{STACK}/databases/shop"


def test_add_writes_credentials_and_decisions_apart(world: World, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n")
    options = ["--ca", str(ca), "--type", "daily", "--retention", "daily=9", "--retention", "keep-last=4"]
    options += ["--endpoint", "https://shop.example/health 204 2.5", "--drill-exceptions"]
    options += [
        "--rpo-hours",
        "30",
        "--critical-table",
        "public.orders",
        "--prove",
        "daily",
        "--waiters",
        "0",
    ]
    outcome = world.run("databases", "add", "shop", "--url", URL, *options, "--json")
    assert (outcome.code, outcome.document["name"]) == (0, "shop")
    assert "hidden" not in outcome.out + outcome.err
    secret = world.secrets()[SECRET]
    assert "hidden" in secret["url"]
    assert secret["ca"] == ca.read_text()
    assert world.parameters()[PARAMETER] == {
        "secret": SECRET,
        "types": ["daily"],
        "waiters": None,
        "prove": "daily",
        "retention": {"daily": 9, "keep_last": 4},
        "rpo_hours": 30,
        "critical_tables": ["public.orders"],
        "drill_exceptions": "accept",
        "endpoints": [{"url": "https://shop.example/health", "status": 204, "within": 2.5}],
    }


def test_what_was_added_is_what_a_backup_will_connect_to(world: World) -> None:
    outcome = world.run(
        "databases", "add", "shop", "--url", "postgresql:///shop?host=/run/pg&port=5433&user=u"
    )
    assert outcome.code == 0

    registry = Registry(boto3.client("ssm"), boto3.client("secretsmanager"), f"/coffre/{STACK}/databases")
    target = registry.target(registry.get("shop"))
    assert (target.host, target.port, target.user, target.database) == ("/run/pg", 5433, "u", "shop")


def test_a_secret_of_rds_gives_the_credentials_for_a_url(world: World) -> None:
    managed = boto3.client("secretsmanager")
    managed.create_secret(Name="rds!shop", SecretString='{"username": "master", "password": "rotated"}')
    assert world.run("databases", "add", "shop", "--url", URL, "--secret", "rds!shop").code == 0

    registry = Registry(boto3.client("ssm"), managed, f"/coffre/{STACK}/databases")
    target = registry.target(registry.get("shop"))
    assert (target.user, target.password) == ("master", "rotated")


def test_a_url_on_standard_input_is_in_no_process_list(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(URL + "\n"))
    assert world.run("databases", "add", "shop", "--url", "-").code == 0
    assert "hidden" in world.secrets()[SECRET]["url"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--url", "mysql://reader:hidden@h/x"], "invalid-url"),
        (["--url", "postgresql://reader:hidden@h/x?sslmode=prefer"], "invalid-url"),
        (["--url", "postgresql://reader:hidden@[h/x"], "invalid-url"),
        (["--url", URL, "--retention", "daily"], "bad-usage"),
        (["--url", URL, "--retention", "decade=1"], "bad-usage"),
        (["--url", URL, "--seal-key", "alias/shop"], "bad-usage"),
        (["--url", URL, "--retention", "keep_last=0"], "invalid-registration"),
        (["--url", URL, "--type", "yearly"], "invalid-registration"),
        (["--url", URL, "--ca", "/does/not/exist"], "bad-usage"),
        (["--secret", "arn:aws:x", "--ca", "/does/not/exist"], "bad-usage"),
        (["--url", URL, *(f"--critical-table=public.t{n:0100}" for n in range(50))], "invalid-registration"),
        (["--url", URL, "--rpo-hours", "inf"], "invalid-registration"),
        (["--url", URL, "--rpo-hours", "1e300"], "invalid-registration"),
        (["--url", URL, "--rto-minutes", "nan"], "invalid-registration"),
        (["--url", URL, "--endpoint", "https://reader:hidden@shop.example/"], "invalid-registration"),
        (["--url", URL, "--endpoint", "https://shop.example/ 200 5 more"], "bad-usage"),
        ([], "bad-usage"),
    ],
)
def test_bad_input_changes_nothing(world: World, options: list[str], code: str) -> None:
    outcome = world.run("databases", "add", "shop", *options, "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, code)
    assert (world.secrets(), world.parameters()) == ({}, {})
    assert "hidden" not in outcome.out + outcome.err


def test_the_longest_objectives_can_be_judged(world: World) -> None:
    longest = ("--rpo-hours", "1e6", "--rto-minutes", "1e6")
    assert world.run("databases", "add", "shop", "--url", URL, *longest).code == 0
    world.store_backup()
    document = world.run("objectives", "shop", "--json").document
    assert document["rpo_hours"] == 1e6


def test_what_the_advice_on_an_unreadable_registration_says_can_be_done(world: World) -> None:
    world.register()
    boto3.client("ssm").put_parameter(Name=PARAMETER, Value='{"rpo_hours": null}', Overwrite=True)
    fault = world.run("objectives", "shop", "--json").document["error"]
    assert fault["code"] == "invalid-registration"
    assert "`coffre databases remove NAME`" in fault["advice"]
    assert world.run("databases", "remove", "shop").code == 0
    world.register()
    assert world.run("databases", "list").code == 0


def test_a_name_that_is_taken_keeps_its_credentials(world: World) -> None:
    world.register()
    before = world.secrets()
    outcome = world.run("databases", "add", "shop", "--url", URL.replace("hidden", "other"), "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "database-exists")
    assert world.secrets() == before


def test_a_secret_of_an_interrupted_add_is_taken_over(world: World) -> None:
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString='{"url": "left over"}')
    world.register()
    assert "hidden" in world.secrets()[SECRET]["url"]


def test_a_named_secret_is_used_and_never_deleted(world: World) -> None:
    boto3.client("secretsmanager").create_secret(Name="rds", SecretString='{"username": "u"}')
    assert world.run("databases", "add", "shop", "--secret", "rds", "--database", "sales").code == 0
    assert world.parameters()[PARAMETER] == {"secret": "rds", "database": "sales"}
    assert world.run("databases", "remove", "shop").code == 0
    assert set(world.secrets()) == {"rds"}


def test_list_shows_what_was_decided_and_no_password(world: World) -> None:
    assert "no database is registered" in world.run("databases", "list").out
    world.register()
    outcome = world.run("databases", "list", "--json")
    assert [entry["name"] for entry in outcome.document["databases"]] == ["shop"]
    assert outcome.document["databases"][0]["retention"]["daily"] == 7
    shown = world.run("databases", "list").out
    assert "daily 7" in shown
    assert "hidden" not in shown + outcome.out


def test_list_names_a_registration_that_is_not_valid_beside_the_others(world: World) -> None:
    world.register()
    name = PARAMETER.replace("shop", "bad")
    boto3.client("ssm").put_parameter(Name=name, Value="{", Type="String")
    outcome = world.run("databases", "list", "--json")
    assert (outcome.code, list(outcome.document["invalid"])) == (1, ["bad"])
    assert [entry["name"] for entry in outcome.document["databases"]] == ["shop"]
    shown = world.run("databases", "list").out
    assert "daily 7" in shown
    assert "the registration of bad is not JSON" in shown


def test_remove_takes_parameter_and_secret_and_tells_of_the_backups(world: World) -> None:
    world.register()
    outcome = world.run("databases", "remove", "shop")
    assert outcome.code == 0
    assert "backups stay" in outcome.err
    assert (world.secrets(), world.parameters()) == ({}, {})
    assert world.run("databases", "remove", "shop").code == 2


def test_check_fails_when_a_finding_refuses(world: World) -> None:
    finding = {
        "level": "warn",
        "code": "standby",
        "object": "server",
        "message": "it waits",
        "advice": "Wait.",
    }
    answer = {"database": "shop", "backup_id": "", "status": "checked", "findings": [finding]}
    world.functions.answers["backup"] = lambda _: answer
    outcome = world.run("databases", "check", "shop", "--json")
    assert (outcome.code, outcome.document["ready"]) == (0, True)
    assert world.functions.calls[0][1]["preflight_only"] is True
    finding["level"] = "refuse"
    outcome = world.run("databases", "check", "shop")
    assert outcome.code == 1
    assert "Wait." in outcome.out


CHECKS = [{"name": "orders", "sql": "SELECT count(*) FROM orders", "expect": 7, "seconds": 5.0}]


def test_checks_are_replaced_and_shown(world: World, tmp_path: Path) -> None:
    world.register()
    assert world.run("databases", "checks", "shop", "--json").document["checks"] == []
    file = tmp_path / "checks.json"
    file.write_text(json.dumps(CHECKS))
    assert world.run("databases", "checks", "shop", "--file", str(file)).code == 0
    assert world.run("databases", "checks", "shop", "--json").document["checks"] == CHECKS
    (entry,) = world.parameters().values()
    assert (entry["checks"], "rpo_hours" in entry) == (CHECKS, False)
    file.write_text("[]")
    world.run("databases", "checks", "shop", "--file", str(file))
    (entry,) = world.parameters().values()
    assert "checks" not in entry


def test_the_key_of_sealed_backups_is_changed_and_shown(world: World) -> None:
    world.run("databases", "add", "shop", "--url", URL, "--seal-key", KEY)
    assert world.run("databases", "seal", "shop", "--json").document["seal_key"] == KEY
    assert world.run("databases", "seal", "shop", "--key", OTHER_KEY).code == 0
    assert world.run("databases", "seal", "shop", "--json").document["seal_key"] == OTHER_KEY
    assert world.run("databases", "seal", "shop", "--key", "alias/mine").code == 2
    assert world.run("databases", "seal", "shop", "--key", KEY, "--off").code == 2
    assert world.run("databases", "seal", "shop", "--key", KEY, "--renew").code == 2
    renewed = world.run("databases", "seal", "shop", "--renew", "--json").document
    assert renewed["seal_key"] == OTHER_KEY
    assert renewed["seal_since"] is not None
    assert OTHER_KEY in world.run("databases", "seal", "shop").out
    assert world.run("databases", "seal", "shop", "--off").out == "new backups of shop are not sealed\n"
    assert world.run("databases", "seal", "shop", "--renew").code == 2
    assert world.run("databases", "seal", "shop", "--json").document["seal_key"] is None


def test_long_checks_are_put_into_the_vault(world: World, tmp_path: Path) -> None:
    world.register()
    file = tmp_path / "checks.json"
    many = [{"name": f"c{n}", "sql": f"SELECT true /* {'x' * 200} */"} for n in range(40)]
    file.write_text(json.dumps(many))
    shown = world.run("databases", "checks", "shop", "--file", str(file), "--json").document["checks"]
    assert [check["sql"] for check in shown] == [check["sql"] for check in many]
    (entry,) = world.parameters().values()
    assert "checks" not in entry
    assert len(entry["checks_in_vault"]) == 64


@pytest.mark.parametrize("text", ["{", "[1]", '[{"name": "x", "sql": "SELECT 1", "typo": 1}]'])
def test_checks_that_arent_valid_change_nothing(world: World, tmp_path: Path, text: str) -> None:
    world.register()
    before = world.parameters()
    file = tmp_path / "checks.json"
    file.write_text(text)
    outcome = world.run("databases", "checks", "shop", "--file", str(file))
    assert (outcome.code, "invalid-checks" in outcome.err) == (2, True)
    assert world.run("databases", "checks", "shop", "--file", str(tmp_path / "none")).code == 2
    assert world.parameters() == before


def test_the_url_of_a_scratch_server_goes_into_a_secret_and_away_with_the_database(world: World) -> None:
    scratch = "postgresql://admin:covert@scratch.example:5432/postgres"
    added = world.run("databases", "add", "shop", "--url", URL, "--scratch", scratch, "--json")
    name = f"coffre/{STACK}/targets/scratch-shop"
    assert added.document["scratch"] == name
    assert "covert" in world.secrets()[name]["url"]
    assert "covert" not in json.dumps(world.parameters()) + added.out
    assert world.run("databases", "remove", "shop").code == 0
    assert world.secrets() == {}


def test_a_secret_that_names_a_scratch_server_stays_the_owners(world: World) -> None:
    boto3.client("secretsmanager").create_secret(Name="mine", SecretString="{}")
    added = world.run("databases", "add", "shop", "--url", URL, "--scratch", "mine", "--json")
    assert added.document["scratch"] == "mine"
    assert world.run("databases", "remove", "shop").code == 0
    assert set(world.secrets()) == {"mine"}
