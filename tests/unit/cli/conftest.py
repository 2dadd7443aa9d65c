"""A deployed stack on moto, whose functions are played by answers that a test chooses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
import urllib3
from moto.server import ThreadedMotoServer

from coffre.catalogue.index import Catalogue
from coffre.ids import utc_now
from coffre.vault.manifest import Manifest, encode, root_hash
from coffre_cli.main import main

STACK = "coffre-test"
REGION = "eu-west-1"
VERBS = ("backup", "verify", "restore", "rotate", "health", "report")
BACKUP = "20261120T030000Z-daily-1f09ab"

Answer = Callable[[dict[str, Any]], Any]

_clients: dict[str, Any] = {}
"""Those of all tests, by their settings: each command makes its own, and each takes its time."""


class FunctionError(Exception):
    """Makes a function end with an error, as Lambda reports it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.document = {"errorType": kind, "errorMessage": message}


@dataclass
class Functions:
    """Stands for Lambda: ``answers`` by verb, and the ``calls`` that arrived as (verb, event, waited for)."""

    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any], bool]] = field(default_factory=list)

    def invoke(self, **given: str) -> dict[str, Any]:
        """As boto3's client does it."""
        verb, event = given["FunctionName"].rpartition("-")[2], json.loads(given["Payload"])
        waited = given.get("InvocationType") != "Event"
        self.calls.append((verb, event, waited))
        if not waited:
            return {"StatusCode": 202}
        try:
            return {"Payload": io.BytesIO(json.dumps(self.answers[verb](event)).encode())}
        except FunctionError as failure:
            body = io.BytesIO(json.dumps(failure.document).encode())
            return {"Payload": body, "FunctionError": "Unhandled"}


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class World:
    """The stack and how to run a command against it."""

    functions: Functions
    run: Callable[..., Outcome]

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue's table."""
        return Catalogue(boto3.client("dynamodb"), "catalogue")

    def secrets(self) -> dict[str, Any]:
        """All secrets by name."""
        client = boto3.client("secretsmanager")
        names = [item["Name"] for item in client.list_secrets()["SecretList"]]
        return {name: json.loads(client.get_secret_value(SecretId=name)["SecretString"]) for name in names}

    def parameters(self) -> dict[str, Any]:
        """All registrations by the parameter's name."""
        answer = boto3.client("ssm").get_parameters_by_path(Path=f"/coffre/{STACK}/databases")
        return {item["Name"]: json.loads(item["Value"]) for item in answer["Parameters"]}

    def register(self, name: str = "shop") -> None:
        """Register a database by the command itself."""
        url = "postgresql://reader:hidden@db.example:5432/shop"
        assert self.run("databases", "add", name, "--url", url).code == 0

    def store_backup(self, name: str = "shop", identifier: str = BACKUP) -> str:
        """Put a backup into vault and catalogue; returns its root hash."""
        found = manifest(name, identifier)
        body = encode(found)
        key = f"{name}/backups/{identifier}/manifest.json"
        boto3.client("s3").put_object(Bucket="vault", Key=key, Body=body)
        self.catalogue.begin(name, identifier, "daily", utc_now())
        self.catalogue.complete(found, root_hash(body))
        return root_hash(body)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `coffre` with arguments."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The URL of a moto server: what reads objects speaks HTTP, not boto3."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def world(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Iterator[World]:
    """A stack with an empty bucket and an empty table; the command finds it by COFFRE_STACK."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "COFFRE_STACK": STACK,
    }.items():
        monkeypatch.setenv(name, value)
    functions = Functions()
    make: Any = boto3.Session.client

    def client(session: boto3.Session, service: str, **options: Any) -> Any:
        if service == "lambda":
            return functions
        settings = {name: vars(value) if name == "config" else value for name, value in options.items()}
        kind = repr((service, session.region_name, settings))
        if kind not in _clients:
            _clients[kind] = make(session, service, **options)
        return _clients[kind]

    monkeypatch.setattr(boto3.Session, "client", client)
    urllib3.request("POST", f"{endpoint}/moto-api/reset")
    _deploy()
    yield World(functions, run)


def manifest(name: str, identifier: str) -> Manifest:
    """A small valid manifest."""
    return Manifest.model_validate(
        {
            "format": 1,
            "requires": ["postgresql", "copy-text", "zstd"],
            "id": identifier,
            "attempt": "0123456789ab",
            "database": name,
            "type": "daily",
            "reason": "",
            "engine": {
                "name": "postgresql",
                "server_version": "16.14",
                "server_version_num": 160014,
                "tools_version": "pg_dump 16",
                "system_identifier": "6f00",
                "database": "shop",
                "database_oid": 16384,
            },
            "snapshot": {"taken": "2026-11-20T03:00:01.000000Z", "lsn": "0/1", "transactions": "1:1:"},
            "started": "2026-11-20T03:00:00.000000Z",
            "completed": "2026-11-20T03:00:09.000000Z",
            "locale": {"encoding": "UTF8", "provider": "c", "collate": "C", "ctype": "C", "locale": None},
            "settings": {},
            "extensions": [],
            "files": [],
            "parts": [],
            "refs": [],
            "objects": {"table": 2},
            "needs": ["extension:hstore"],
            "totals": {
                "relations": 2,
                "sequences": 1,
                "rows": 1234567,
                "bytes": 5_000_000,
                "chunks": 5,
                "stored_bytes": 2_000_000,
                "new_chunks": 1,
                "new_bytes": 400_000,
                "large_objects": 0,
            },
            "left_out": [
                {"kind": "foreign_table", "name": "public.elsewhere", "reason": "its rows are elsewhere"}
            ],
        }
    )


def _deploy() -> None:
    outputs = {
        "Bucket": "vault",
        "Table": "catalogue",
        "Registrations": f"/coffre/{STACK}/databases",
        "Secrets": f"coffre/{STACK}",
        **{verb.capitalize(): f"{STACK}-{verb}" for verb in VERBS},
    }
    topic = {"Topic": {"Type": "AWS::SNS::Topic"}}
    for name, values in {STACK: outputs, "other": {"Topic": "t"}}.items():
        template = {"Resources": topic, "Outputs": {key: {"Value": value} for key, value in values.items()}}
        boto3.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))
    boto3.client("s3").create_bucket(
        Bucket="vault", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    boto3.client("dynamodb").create_table(
        TableName="catalogue",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
