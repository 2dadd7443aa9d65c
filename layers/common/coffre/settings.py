"""A function's settings: what the template put into its environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coffre.errors import InvalidSettingsError


class Settings(BaseModel):
    """What a function must know of its stack.

    The names in the environment are the aliases below; ``template.yaml`` sets every one of them.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    stack: str = Field(alias="COFFRE_STACK", min_length=1)
    bucket: str = Field(alias="COFFRE_BUCKET", min_length=3)
    owner: str = Field(alias="COFFRE_BUCKET_OWNER", default="")
    copy_arn: str = Field(alias="COFFRE_COPY_ARN", default="")
    copy_region: str = Field(alias="COFFRE_COPY_REGION", default="")
    copy_owner: str = Field(alias="COFFRE_COPY_OWNER", default="")
    table: str = Field(alias="COFFRE_TABLE", min_length=3)
    bus: str = Field(alias="COFFRE_BUS", default="default", min_length=1)
    postgres: Path = Field(alias="COFFRE_POSTGRES", default=Path("/opt/postgres"))
    prove_function: str = Field(alias="COFFRE_PROVE_FUNCTION", default="")
    backup_function: str = Field(alias="COFFRE_BACKUP_FUNCTION", default="")
    backup_machine: str = Field(alias="COFFRE_BACKUP_MACHINE", default="")
    capture_seconds: int = Field(alias="COFFRE_CAPTURE_SECONDS", default=750, ge=1)
    restore_machine: str = Field(alias="COFFRE_RESTORE_MACHINE", default="")
    load_seconds: int = Field(alias="COFFRE_LOAD_SECONDS", default=750, ge=1)
    hold_seconds: int = Field(alias="COFFRE_HOLD_SECONDS", default=300, ge=1, le=450)
    max_run_seconds: int = Field(alias="COFFRE_MAX_RUN_SECONDS", default=21_600, ge=900)
    patience_seconds: int = Field(alias="COFFRE_PATIENCE_SECONDS", default=0, ge=0)
    scratch: Path = Field(alias="COFFRE_SCRATCH", default=Path("/tmp"))  # noqa: S108 - all that Lambda lets us write
    scratch_mb: int = Field(alias="COFFRE_SCRATCH_MB", default=10_240, ge=64)
    rpo_hours: float = Field(alias="COFFRE_RPO_HOURS", default=26, gt=0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings out of ``environment``.

        Raises
        ------
        InvalidSettingsError
            If a variable is missing, empty or malformed; the message names each one.
        """
        given = {name: value for name, value in environment.items() if name.startswith("COFFRE_")}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            faults = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
            raise InvalidSettingsError(f"the function's environment is not valid: {faults}") from error

    @property
    def registrations(self) -> str:
        """The SSM path below which databases are registered, without a trailing slash."""
        return f"/coffre/{self.stack}/databases"

    @property
    def copy_bucket(self) -> str:
        """The bucket that the vault is replicated into; empty if there is none."""
        return self.copy_arn.rpartition(":")[2]

    @property
    def secrets(self) -> str:
        """The prefix of this stack's secrets in Secrets Manager."""
        return f"coffre/{self.stack}"
