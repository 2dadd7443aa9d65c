"""Finding the stack to talk to, and making its clients: a deployed one, or the local cloud."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coffre_cli.errors import NoStackError, UnknownStackError, UsageError

if TYPE_CHECKING:
    from coffre.catalogue.index import Catalogue
    from coffre.databases.registry import Registry
    from coffre.vault.store import ObjectStore

STATE_FOLDER = ".coffre"
INVOKE_SECONDS = 910
"""A function runs for 900 s at most (AWS Lambda quotas); its answer comes by then."""

Connect = Callable[[str, Any], Any]


class Stack:
    """A running Coffre.

    Parameters
    ----------
    name:
        The stack's name.
    outputs:
        The outputs of the template: ``Bucket``, ``Table``, a function's name for each verb (``Backup`` ...),
        ``Registrations`` and ``Secrets``.
    connect:
        Makes a boto3 client from a service's name and a botocore configuration.
    account:
        The account that the stack, and so its bucket, belongs to.

    Raises
    ------
    UnknownStackError
        If an output is missing.
    """

    def __init__(self, name: str, outputs: Mapping[str, str], connect: Connect, *, account: str = "") -> None:
        needed = (
            "Bucket",
            "Table",
            "Registrations",
            "Secrets",
            "Backup",
            "Verify",
            "Restore",
            "Rotate",
            "Health",
            "Report",
        )
        missing = [output for output in needed if not outputs.get(output)]
        if missing:
            raise UnknownStackError(f"stack {name} isn't Coffre's: it has no output {', '.join(missing)}")
        self.name = name
        self.account = account
        self.outputs = dict(outputs)
        self._connect = connect
        self._clients: dict[str, Any] = {}

    @property
    def bucket(self) -> str:
        """The vault's bucket."""
        return self.outputs["Bucket"]

    @property
    def secrets(self) -> str:
        """The prefix of the stack's secrets, without a trailing slash."""
        return self.outputs["Secrets"]

    @property
    def registrations(self) -> str:
        """The SSM path of the registered databases, without a trailing slash."""
        return self.outputs["Registrations"]

    def function(self, verb: str) -> str:
        """The name of the function of a verb, for example ``backup``."""
        return self.outputs[verb.capitalize()]

    def client(self, service: str) -> Any:
        """A boto3 client, the same one each time."""
        if service not in self._clients:
            from botocore.config import Config

            config = Config(retries={"mode": "standard"}, connect_timeout=10, read_timeout=60)
            self._clients[service] = self._connect(service, config)
        return self._clients[service]

    def patient_lambda(self) -> Any:
        """A client of Lambda that waits as long as a function may run and never calls it twice."""
        from botocore.config import Config

        config = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=10,
            read_timeout=INVOKE_SECONDS,
            tcp_keepalive=True,
        )
        return self._connect("lambda", config)

    def catalogue(self) -> Catalogue:
        """The catalogue's table."""
        from coffre.catalogue.index import Catalogue

        return Catalogue(self.client("dynamodb"), self.outputs["Table"])

    def registry(self) -> Registry:
        """The registered databases."""
        from coffre.databases.registry import Registry

        return Registry(self.client("ssm"), self.client("secretsmanager"), self.registrations)

    def store(self) -> ObjectStore:
        """The vault."""
        from coffre.vault.store import ObjectStore

        return ObjectStore(self.client("s3"), self.bucket, owner=self.account)

    def copy(self) -> ObjectStore:
        """The second vault, that the first one is replicated into.

        Raises
        ------
        NoCopyError
            If there is none.
        """
        from botocore.config import Config

        from coffre.errors import NoCopyError
        from coffre.vault.store import ObjectStore

        bucket = self.outputs.get("CopyBucketArn", "").rpartition(":")[2]
        if not bucket:
            raise NoCopyError(f"the vault {self.bucket} isn't replicated anywhere")
        config = Config(retries={"mode": "standard"}, region_name=self.outputs["CopyRegion"])
        return ObjectStore(self._connect("s3", config), bucket, owner=self.outputs["CopyOwner"])


def find_stack(name: str | None, region: str | None) -> Stack:
    """The deployed stack ``name``, or the local cloud of this folder.

    Raises
    ------
    NoStackError
        If there is no name and no local cloud runs.
    UnknownStackError
        If it isn't there.
    """
    if name:
        return _deployed(name, region)
    if region:
        raise UsageError("--region is for a deployed stack, and none is named", "Give --stack, too.")
    from localcloud import control

    state = state_folder()
    info = control.status(state)
    if info is None:
        raise NoStackError(f"no local cloud runs in {state}, and no deployed stack is named")
    return _local(info)


def state_folder() -> Path:
    """The local cloud's state: COFFRE_HOME, or the nearest ``.coffre`` upward that one runs in, or ours."""
    home = os.environ.get("COFFRE_HOME")
    if home:
        return Path(home).expanduser().absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / STATE_FOLDER / "local.json").is_file():
            return folder / STATE_FOLDER
    return here / STATE_FOLDER


def _local(info: Mapping[str, Any]) -> Stack:
    import boto3
    from botocore.config import Config

    # The endpoint is on this machine: a proxy of the environment must not see it, nor real credentials.
    session: Any = boto3.Session("local", "local", region_name=info["region"])

    def connect(service: str, config: Any) -> Any:
        return session.client(service, endpoint_url=info["endpoint"], config=config.merge(Config(proxies={})))

    return Stack(info["stack"], info["outputs"], connect)


def _deployed(name: str, region: str | None) -> Stack:
    import boto3
    from botocore.exceptions import ClientError

    session: Any = boto3.Session(region_name=region)
    try:
        stacks = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            raise UnknownStackError(f"there is no stack {name} in {session.region_name}") from error
        raise
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stacks[0].get("Outputs", [])}
    # arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/ID
    account = stacks[0]["StackId"].split(":")[4]
    return Stack(
        name, outputs, lambda service, config: session.client(service, config=config), account=account
    )
