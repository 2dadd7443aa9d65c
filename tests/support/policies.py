"""The policies of the template: of each function's role, and of the bucket."""

from __future__ import annotations

from functools import cache
from typing import Any

from localcloud.documents import parse
from tests.conftest import ROOT
from tests.support.calls import ACCOUNT, REGION
from tests.support.iam import Resolver, Statement

STACK = "local"
FUNCTIONS = ["backup", "hold", "capture", "load", "verify", "restore", "rotate", "health", "report"]
"""All but those that prove, one for each version of PostgreSQL."""
VERBS = [*FUNCTIONS, "prove", "machine"]
"""Who has a role."""
OTHER_SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1-AbCdEf"
COPY = "arn:aws:s3:::second-vault"

SEAL_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/5ea1ed00-0000-4000-8000-000000000000"


@cache
def _resources() -> dict[str, Any]:
    """The template's resources; nobody changes them."""
    resources: dict[str, Any] = parse((ROOT / "template.yaml").read_text())["Resources"]
    return resources


class Policies:
    """The template's policies as they are for one bucket and one table."""

    def __init__(self, bucket: str, table: str) -> None:
        self.resources = _resources()
        names: dict[str, Any] = {
            "AWS::StackName": STACK,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "Vault": bucket,
            "Vault.Arn": f"arn:aws:s3:::{bucket}",
            "VaultKey.Arn": "the vault's key",
            "Catalogue.Arn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}",
            "CopyBucketArn": COPY,
            "CopyKmsKeyArn": "the copy's key",
            "CopyRegion": REGION,
            "ReplicaRoleArn": "another stack's replication",
            "ReplicaReaderArns": ["another stack's verify", "another stack's restore"],
            "DatabaseSecretArns": [OTHER_SECRET],
            "DatabaseSecretKeyArns": ["the secrets' key"],
            "SealKeys": [SEAL_KEY],
        }
        for name, resource in self.resources.items():
            if resource["Type"] == "AWS::Serverless::Function":
                function = str(resource["Properties"]["FunctionName"]["Fn::Sub"]).replace(
                    "${AWS::StackName}", STACK
                )
                names[f"{name}.Arn"] = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
            else:
                names.setdefault(f"{name}.Arn", f"arn of {name}")
        self._resolver = Resolver(names)

    def role(self, verb: str) -> list[Statement]:
        """What a function's role allows."""
        return self._resolver.role(self.resources[f"{verb.capitalize()}Role"]["Properties"])

    def bucket(self) -> list[Statement]:
        """What the bucket's policy denies."""
        return self._resolver.statements(self.resources["VaultPolicy"]["Properties"]["PolicyDocument"])
