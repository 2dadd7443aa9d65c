"""Least privilege, shown: each function's role allows exactly the calls that the function makes.

The real functions run in a local cloud whose endpoint writes down every request by the credentials that
signed it.  Everything that they do is made to happen once, errors included; then the calls are compared with
the template's policies, in both directions.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import localcloud
from coffre.backup.job import VERSION
from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.registration import Registration, encode
from coffre.events.backup import MachineRun
from coffre.ids import utc_now
from coffre.restore.token import new_token
from coffre.vault.layout import Layout
from coffre.vault.reader import load_manifest
from coffre.vault.store import ObjectStore
from tests.conftest import ROOT
from tests.integration.scale.desk import busy
from tests.support.calls import ACCOUNT, Call, Recorder
from tests.support.iam import Statement, allowing, denied_by
from tests.support.policies import COPY, OTHER_SECRET, SEAL_KEY, STACK, VERBS, Policies
from tests.support.postgres import create, customer_server, sql, target, url
from tests.support.waiting import PATIENCE_SECONDS, soon

LONG_AGO = timedelta(days=2)

BY_LAMBDA = ("logs:", "xray:", "sqs:SendMessage", "ec2:")
"""What Lambda does with the role, not the code: logs, traces, failed events, network interfaces."""

LOCKS = ("s3:GetObjectRetention", "s3:PutObjectRetention", "s3:GetObjectLegalHold", "s3:PutObjectLegalHold")
"""Only a bucket with Object Lock is asked for them; test_object_lock.py has one."""


SECOND = "second-vault"
PARAMETERS = {"CopyBucketArn": COPY, "CopyRegion": "us-east-1", "CopyKmsKeyArn": "the copy's key"}

OTHERS = (14, 15, 17)


def prove(major: int) -> str:
    """The function that proves backups of a major version."""
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{STACK}-prove-{major}"


FUNCTIONS = [verb for verb in VERBS if verb != "machine"]
"""moto's states sign as nobody: what the machine's role must allow is in docs/not-verified-here.md."""

NOT_SEEN = {
    ("kms:Decrypt", "the secrets' key"): "Secrets Manager asks KMS; moto's doesn't",
    ("secretsmanager:GetSecretValue", OTHER_SECRET): "the owner's own secrets, when the parameter names some",
    **{("lambda:InvokeFunction", prove(major)): f"no source here is of {major}" for major in OTHERS},
}
"""What no request shows here, and why it is needed all the same."""

NOT_SEEN_OF = {
    (verb, "s3:ListBucket"): "S3 calls a missing object forbidden without it; moto doesn't"
    for verb in ("capture", "load")
}
"""The same, of one function."""


class Desk:
    """The functions of a cloud in this process, and what moves its clock."""

    def __init__(self, cloud: localcloud.LocalCloud, server: EphemeralServer) -> None:
        self.cloud = cloud
        self.server = server
        self._lambda = cloud.client("lambda")
        self._secrets = cloud.client("secretsmanager")
        self._times = itertools.count(1)
        self._table = cloud.client("dynamodb")
        self.catalogue = Catalogue(self._table, str(cloud.table))

    def call(self, verb: str, **event: Any) -> dict[str, Any]:
        """Invoke a function and wait; its answer or its error."""
        answer = self._lambda.invoke(FunctionName=f"{STACK}-{verb}", Payload=json.dumps(event))
        content: dict[str, Any] = json.load(answer["Payload"])
        return content

    def fire(self, schedule: str) -> None:
        """Fire a schedule and wait for all that follows."""
        self.cloud.fire(f"{STACK}-{schedule}", f"2026-11-03T03:00:{next(self._times):02}Z")
        assert self.cloud.drain(PATIENCE_SECONDS)

    def backup(self, name: str, **event: Any) -> dict[str, Any]:
        """A backup at a time of its own, with its verification."""
        moment = f"2026-11-02T03:00:{next(self._times):02}Z"
        answer = self.call("backup", **{"type": "daily", "scheduled_time": moment, "database": name, **event})
        assert self.cloud.drain(PATIENCE_SECONDS)
        return answer

    def register(self, name: str, where: str = "", **decisions: Any) -> None:
        """Register a database."""
        secret = f"coffre/{STACK}/databases/{name}"
        if where:
            self._secrets.create_secret(Name=secret, SecretString=json.dumps({"url": where}))
        text = encode(Registration(secret=secret, **decisions), name=name)
        path = f"/coffre/{STACK}/databases/{name}"
        self.cloud.client("ssm").put_parameter(Name=path, Value=text, Type="String", Overwrite=True)

    def target(self, where: str) -> str:
        """A secret with the URL of a restore's target."""
        secret = f"coffre/{STACK}/targets/t{next(self._times)}"
        self._secrets.create_secret(Name=secret, SecretString=json.dumps({"url": where}))
        return secret

    def make_seal_key(self) -> None:
        """Make the KMS key whose ARN the template's parameter is taken to be."""
        from moto.kms.models import kms_backends

        keys = kms_backends[ACCOUNT]["us-east-1"].keys
        key = keys.pop(self.cloud.client("kms").create_key()["KeyMetadata"]["KeyId"])
        key.arn, key.id = SEAL_KEY, SEAL_KEY.rsplit("/")[-1]
        keys[key.id] = key

    def restore(self, name: str, **event: Any) -> dict[str, Any]:
        """Plan and run a restore."""
        token = self.call("restore", action="plan", database=name, **event)["token"]
        return self.call("restore", action="run", database=name, token=token, **event)

    def age(self) -> None:
        """Let everything in the bucket be older."""
        from moto.s3.models import s3_backends

        bucket = s3_backends[ACCOUNT]["aws"].buckets[str(self.cloud.bucket)]
        for _, versions in bucket.keys.lists():
            for version in versions:
                version.last_modified -= LONG_AGO

    def on_the_machine(self, name: str, where: str, *, is_there: bool) -> None:
        """A backup on the state machine, which waits for a busy source at first; and the same again."""
        limits = {"active_sessions": 1}
        self.register(f"{name}-large", where, runs="machine", seal_key=SEAL_KEY, limits=limits)
        moment = f"2026-11-02T03:00:{next(self._times):02}Z"
        event = {"type": "daily", "scheduled_time": moment, "database": f"{name}-large"}
        waits = {"TableName": self.cloud.table, "FilterExpression": "attribute_exists(waits)"}
        with busy(self.server, 2):
            self.call("backup", **event)
            if is_there:
                soon(lambda: self._table.scan(**waits)["Items"], "a batch that waits", pause=0.3)
        self._await_machine()
        self.call("backup", **event)
        self._await_machine()

    def restore_on_the_machine(self, name: str, **event: Any) -> None:
        """A restore on the state machine that comes to its end."""
        assert self.restore(name, runs="machine", **event)["status"] == "started"
        self._await_machine()
        newest = next(self.catalogue.restores(name))
        assert (newest.status, newest.where) == ("completed", "machine"), newest

    def hold_in_vain(self, name: str) -> None:
        """A holder that can't reach its database, and says so to the machine that waits for it."""
        run = MachineRun(
            database=name,
            backup_id="20261102T030000Z-daily-000000",
            type="daily",
            scheduled_time=utc_now(),
            execution="arn:of:one",
            tries=1,
        )
        ledger = self.catalogue.ledger(name, run.attempt)
        assert ledger.open(run.backup_id, utc_now() + timedelta(hours=1), version=VERSION, pause=1)
        waiting = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": self.cloud.functions["HoldFunction"],
                "InvocationType": "Event",
                "Payload": {"run": run.model_dump(mode="json"), "token.$": "$$.Task.Token"},
            },
            "HeartbeatSeconds": 40,
            "End": True,
        }
        states = self.cloud.client("stepfunctions")
        machine = states.create_state_machine(
            name="vain",
            definition=json.dumps({"StartAt": "Hold", "States": {"Hold": waiting}}),
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/vain",
        )["stateMachineArn"]
        started = states.start_execution(stateMachineArn=machine)["executionArn"]
        self._await_machine()
        assert states.describe_execution(executionArn=started)["status"] == "FAILED"
        states.delete_state_machine(stateMachineArn=machine)

    def _await_machine(self) -> None:
        states = self.cloud.client("stepfunctions")
        for machine in states.list_state_machines()["stateMachines"]:
            asked = {"stateMachineArn": machine["stateMachineArn"], "statusFilter": "RUNNING"}
            while states.list_executions(**asked)["executions"]:
                time.sleep(0.3)
        assert self.cloud.drain(PATIENCE_SECONDS)

    def hold(self, name: str) -> None:
        """Take a database's lease, as another run would."""
        self.catalogue.acquire(name, "somebody else", utc_now() + timedelta(hours=1))

    def let_go(self, name: str) -> None:
        """Give it back."""
        self.catalogue.release(name, "somebody else")

    def mark_part(self, name: str) -> None:
        """The same, with a part of the newest backup."""
        store = ObjectStore(self.cloud.client("s3"), str(self.cloud.bucket))
        self.mark(load_manifest(store, name, "latest")[0].parts[0].key)

    def mark(self, key: str) -> None:
        """Put a delete marker, as a rotation would that thought nobody needs it."""
        self.cloud.client("s3").delete_object(Bucket=self.cloud.bucket, Key=key)


def look_at_copies(desk: Desk) -> None:
    """A copy that isn't there, one that is complete, one that is read, and a restore from it."""
    s3 = desk.cloud.client("s3")
    s3.create_bucket(Bucket=SECOND)
    s3.put_bucket_versioning(Bucket=SECOND, VersioningConfiguration={"Status": "Enabled"})
    desk.fire("copies")
    desk.cloud.replicate()
    desk.fire("copies")
    # A chunk behind a marker is read through it.
    chunk = s3.list_objects_v2(Bucket=SECOND, Prefix=Layout("one").chunks)["Contents"][0]["Key"]
    s3.delete_object(Bucket=SECOND, Key=chunk)
    (found,) = desk.call("verify", action="copy", database="one", backup_id="latest", read=True)["copies"]
    assert (found["verdict"], found["by"]) == ("complete", "content")
    assert desk.restore("one", source="copy", target_secret=desk.target(url(desk.server, "from_copy")))[
        "rows"
    ]
    desk.restore_on_the_machine("one", source="copy", mode="swap", safety="skip")
    assert "errorMessage" not in desk.restore("one", mode="undo")


def live(desk: Desk) -> None:
    """Everything that functions do."""
    server, one = desk.server, Layout("one")
    only_newest = {"hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "keep_last": 1}
    create(server, "one", "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i", "SELECT lo_creat(-1)")
    desk.make_seal_key()
    desk.register("one", url(server, "one"), prove="daily", retention=only_newest, seal_key=SEAL_KEY)
    desk.register("nowhere", "postgresql://u@127.0.0.1:1/db")
    desk.backup("one", preflight_only=True)
    desk.fire("backup-daily")
    assert desk.backup("one")["status"] == "completed"
    assert desk.backup("one")["status"] == "completed"
    desk.hold("one")
    failures = [
        desk.backup("one"),
        desk.backup("nowhere"),
        desk.backup("nobody"),
        desk.backup("one", type="dayly"),
        desk.call("verify", database="one", backup_id="20261103T030000Z-daily-000000"),
        desk.call("restore", action="plan", database="one", target_secret=f"coffre/{STACK}/targets/none"),
        desk.call("rotate", database="nobody"),
    ]
    desk.let_go("one")
    assert all("errorMessage" in failure for failure in failures)
    desk.on_the_machine("one", url(server, "one"), is_there=True)
    desk.on_the_machine("nowhere", "postgresql://u@127.0.0.1:1/db", is_there=False)
    desk.hold_in_vain("nowhere-large")
    # A chunk behind a marker is read through it.
    store = desk.cloud.client("s3")
    listed = store.list_objects_v2(Bucket=desk.cloud.bucket, Prefix=one.chunks)["Contents"]
    desk.mark(listed[0]["Key"])
    rehearsed = desk.call("verify", database="one", backup_id="latest", upgrade_to=18)
    assert (rehearsed["verdict"], rehearsed["upgrade"]["verdict"]) == ("proven", "upgrade-ready"), rehearsed
    assert desk.restore("one", target_secret=desk.target(url(server, "restored")))["digests_equal"]
    desk.restore_on_the_machine("one", target_secret=desk.target(url(server, "restored_large")))
    assert desk.restore("one", mode="swap")["digests_equal"]
    assert "errorMessage" not in desk.restore("one", mode="undo")
    unplanned = desk.call("restore", action="run", database="one", mode="swap", token=new_token(utc_now()))
    assert "errorMessage" in unplanned
    scratch = desk.target(url(server, "postgres"))
    desk.register("one", prove="daily", retention=only_newest, scratch=scratch, seal_key=SEAL_KEY)
    assert desk.call("restore", action="drill", database="one")["digests_equal"]
    desk.fire("drill-weekly")
    look_at_copies(desk)
    # Old backups go, their chunks are marked, and later purged; what was marked too soon comes back.
    sql(target(server, "one"), "DELETE FROM t WHERE i > 50")
    desk.mark_part("one")  # what the next backup looks up in it is found through the marker
    assert desk.backup("one")["status"] == "completed"
    desk.age()
    assert desk.call("rotate", database="one", dry_run=True)["failed"] == {}
    desk.fire("rotate-daily")
    desk.age()
    desk.fire("rotate-daily")
    newest = desk.backup("one")["backup_id"]
    assert "errorMessage" not in desk.call("rotate", action="hold", database="one", backup_id=newest)
    assert "errorMessage" not in desk.call("rotate", action="release", database="one", backup_id=newest)
    desk.fire("report-monthly")
    assert "errorMessage" not in desk.call("report", database="one", month="2026-10")
    assert "errorMessage" not in desk.call("report", database="one", month="2026-10")
    report = json.loads((ROOT / "events" / "report" / "load-test-ended.json").read_text())["report"]
    told = {**report, "database": "one", "stack": STACK}
    assert "errorMessage" not in desk.call("report", action="loadtest", database="one", report=told)
    desk.fire("drill-quarterly")
    desk.fire("recheck-daily")
    desk.call("verify", action="recheck", days=1, database="one")
    desk.call("health")
    desk.call("health", database="one")
    assert desk.call("health", action="probe", database="one")["source"]["up"]
    desk.cloud.client("kms").disable_key(KeyId=SEAL_KEY.rsplit("/")[-1])
    reasons = desk.call("health", database="one")["databases"][0]["reasons"]
    assert "seal-key-unavailable" in [reason["code"] for reason in reasons]


@pytest.fixture(scope="module")
def recorded(
    postgres_root: Path, scratch_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[set[Call], localcloud.LocalCloud]]:
    """All calls of all functions."""
    recorder = Recorder()
    with (
        localcloud.up(
            ROOT / "template.yaml", state=tmp_path_factory.mktemp("state"), parameters=PARAMETERS
        ) as cloud,
        customer_server(postgres_root, 16, scratch_root) as server,
    ):
        cloud._application.routes.insert(0, recorder)
        live(Desk(cloud, server))
        yield recorder.calls, cloud


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_every_call_that_a_function_makes_is_allowed(
    recorded: tuple[set[Call], localcloud.LocalCloud], verb: str
) -> None:
    calls, cloud = recorded
    policies = Policies(str(cloud.bucket), str(cloud.table))
    mine = [call for call in calls if call.caller == f"{STACK}-{verb}"]
    assert bool(mine) == (verb != "prove"), "prove has credentials and never uses them"
    for call in mine:
        context = dict(call.context)
        assert list(allowing(policies.role(verb), call.action, call.resource, context)), call
        principal = {**context, "aws:principalarn": f"arn of {verb.capitalize()}Role"}
        assert not denied_by(policies.bucket(), call.action, call.resource, principal), call


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_nothing_is_allowed_that_a_function_never_does(
    recorded: tuple[set[Call], localcloud.LocalCloud], verb: str
) -> None:
    calls, cloud = recorded
    mine = [call for call in calls if call.caller == f"{STACK}-{verb}"]
    unused = []
    for statement in Policies(str(cloud.bucket), str(cloud.table)).role(verb):
        for action, resource in itertools.product(statement.actions, statement.resources):
            if action.startswith(BY_LAMBDA) or action in LOCKS or (action, resource) in NOT_SEEN:
                continue
            if (verb, action) in NOT_SEEN_OF:
                continue
            one = Statement("Allow", (action,), (resource,), statement.conditions)
            if not any(one.covers(call.action, call.resource, dict(call.context)) for call in mine):
                unused.append(f"{action} on {resource}")
    assert not unused, "\n".join(unused)
