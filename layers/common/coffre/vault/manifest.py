"""The manifest of format 1: a backup exists when this object exists.

It is smaller than 1 MiB whatever the size of the database; what grows with the database lies in parts.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from coffre.errors import FormatUnsupportedError, ManifestInvalidError
from coffre.ids import BACKUP_TYPES, KMS_KEY, BackupType, moment
from coffre.readable import readable
from coffre.vault.layout import FORMAT

MAX_BYTES = 1 << 20
MAX_WRAPPED = 8192
"""Of base64: KMS takes ciphertexts of 6144 bytes at most.
Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html"""

SEALED, SLICES, LARGE_OBJECTS = "seal-1", "slices", "large-object-rows"
MEMBERSHIP_OPTIONS = "membership-options"
CAPABILITIES = frozenset(
    {
        "postgresql",
        "copy-text",
        "zstd",
        "large-objects",
        LARGE_OBJECTS,
        "objects",
        "generated",
        SEALED,
        SLICES,
        MEMBERSHIP_OPTIONS,
    }
)
"""What this reader can do.  A manifest that requires anything else is refused."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Named = Annotated[str, AfterValidator(readable)]
"""A name in the source's database, where people read it; its exact bytes are in the parts, if anywhere."""
Count = Annotated[int, Field(ge=0, lt=1 << 53)]
DatabaseName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,48}$")]
BackupId = Annotated[
    str, Field(pattern=rf"^[0-9]{{8}}T[0-9]{{6}}Z-({'|'.join(BACKUP_TYPES)})-[0-9a-f]{{6}}$")
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredFile(_Model):
    """An object of the backup's attempt: where it is, how large, and the SHA-256 of its exact bytes."""

    key: str
    size: Count
    sha256: Sha256


class ArchiveFile(StoredFile):
    """A file that PostgreSQL's own tools or a person can read; ``large_objects`` in older backups alone."""

    role: Literal["schema", "globals", "large_objects"]


class PartFile(StoredFile):
    """Records of relations and chunks: zstd-compressed NDJSON, ``bytes`` long when unpacked."""

    bytes: Count
    relations: Count
    chunks: Count


class RefsFile(StoredFile):
    """Sorted ids (32 bytes each) of the chunks whose first byte lies between ``first`` and ``last``."""

    first: Annotated[str, Field(pattern=r"^[0-9a-f]{2}$")]
    last: Annotated[str, Field(pattern=r"^[0-9a-f]{2}$")]
    chunks: Count


class Engine(_Model):
    """The source server and the tools that read it."""

    name: Literal["postgresql"]
    server_version: str
    server_version_num: Count
    tools_version: str
    system_identifier: Annotated[str, Field(description="pg_control_system's number in hex")]
    database: Annotated[Named, Field(description="the database's own name")]
    database_oid: Count

    @property
    def major(self) -> int:
        """The source server's major version."""
        return self.server_version_num // 10_000


class Snapshot(_Model):
    """The instant that the backup shows."""

    taken: str
    lsn: str
    transactions: Annotated[str, Field(description="pg_current_snapshot() as text")]


class Locale(_Model):
    """What a new database must be created with to hold the same content."""

    encoding: str
    provider: str
    collate: str
    ctype: str
    locale: str | None


class Extension(_Model):
    """An installed extension."""

    name: Named
    version: str
    schema_: Annotated[Named, Field(alias="schema")]

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class LeftOut(_Model):
    """Something of the source that isn't in the backup, and why."""

    kind: str
    name: Named
    reason: str


class Totals(_Model):
    """Sums over the parts.  ``new_bytes`` is what this backup added to the vault."""

    relations: Count
    sequences: Count
    rows: Count
    bytes: Count
    chunks: Count
    stored_bytes: Count
    new_chunks: Count
    new_bytes: Count
    large_objects: Count


def _base64(text: str) -> str:
    b64decode(text, validate=True)
    return text


def _stamped(text: str) -> str:
    moment(text)
    return text


class SealContext(_Model):
    """KMS's encryption context: it unwraps the data key only for exactly this, and logs it in CloudTrail."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    vault: Annotated[str, Field(alias="coffre:vault", description="the bucket that it was made for")]
    database: Annotated[DatabaseName, Field(alias="coffre:database")]
    seal: Annotated[str, Field(alias="coffre:seal", pattern=r"^[0-9a-f]{32}$")]
    created: Annotated[str, Field(alias="coffre:created"), AfterValidator(_stamped)]


class SealKey(_Model):
    """The data key that a backup is sealed with, as only KMS can unwrap it: `coffre.vault.keys`."""

    kms_key: Annotated[str, Field(pattern=KMS_KEY)]
    context: SealContext
    wrapped: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9+/]+=*$", max_length=MAX_WRAPPED, description="KMS's ciphertext in base64"
        ),
        AfterValidator(_base64),
    ]

    @property
    def id(self) -> str:
        """The seal's name, which each sealed object bears."""
        return self.context.seal


class Manifest(_Model):
    """One backup.

    Of a sealed one this is either what anybody may read, with the rest in ``sealed``, or, opened by its key,
    all of it without ``sealed``: see `coffre.vault.sealed_manifest`.
    """

    format: Literal[1]
    requires: list[str]
    id: BackupId
    attempt: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    database: DatabaseName
    type: BackupType
    reason: str
    engine: Engine
    snapshot: Snapshot
    started: str
    completed: str
    locale: Locale
    settings: dict[str, str]
    extensions: list[Extension]
    files: list[ArchiveFile]
    parts: list[PartFile]
    refs: list[RefsFile]
    totals: Totals
    objects: Annotated[dict[str, Count], Field(description="the number of objects at the source, by kind")]
    needs: Annotated[
        list[Named], Field(description="what a server must have, as kind:name, beside extensions")
    ]
    left_out: list[LeftOut]
    extra: dict[str, Any] = Field(default_factory=dict)
    seal: SealKey | None = None
    sealed: Annotated[str, Field(description="the fields that are left empty, sealed, in base64")] | None = (
        None
    )

    @property
    def is_closed(self) -> bool:
        """Whether some of its fields are empty because they are sealed."""
        return self.sealed is not None

    def file(self, role: Literal["schema", "globals", "large_objects"]) -> ArchiveFile | None:
        """The archive file of this role, if there is one."""
        return next((file for file in self.files if file.role == role), None)

    @property
    def schema_file(self) -> ArchiveFile:
        """The schema archive, which every backup has.

        Raises
        ------
        ManifestInvalidError
            If this one hasn't.
        """
        file = self.file("schema")
        if file is None:
            raise ManifestInvalidError(f"the backup {self.id} has no schema")
        return file


def encode(manifest: Manifest) -> bytes:
    """The manifest's exact bytes.

    Raises
    ------
    ManifestInvalidError
        If it would be larger than a manifest may be.
    """
    content = manifest.model_dump(by_alias=True)
    for name in ("seal", "sealed"):  # readers that are older than sealing refuse fields that they don't know
        if content[name] is None:
            del content[name]
    body = json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"
    if len(body) > MAX_BYTES:
        raise ManifestInvalidError(f"the manifest of {manifest.id} would take {len(body)} bytes")
    return body


def root_hash(body: bytes) -> str:
    """The SHA-256 of a manifest's exact bytes, in hex: it binds everything that the backup consists of."""
    return hashlib.sha256(body).hexdigest()


def decode(body: bytes, *, key: str) -> Manifest:
    """Read a manifest that was found under ``key``.

    Raises
    ------
    FormatUnsupportedError
        If its format or one of its requirements isn't known here.
    ManifestInvalidError
        If it was cut, edited, is too large, or belongs under another key.
    """
    if len(body) > MAX_BYTES:
        raise ManifestInvalidError(f"{key} has {len(body)} bytes, more than a manifest may have")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalidError(f"{key} is not JSON") from error
    if not isinstance(content, dict):
        raise ManifestInvalidError(f"{key} is not a JSON object")
    _check_support(content, key)
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise ManifestInvalidError(f"{key} is not a valid manifest: {where}") from error
    if key != f"{manifest.database}/backups/{manifest.id}/manifest.json":
        raise ManifestInvalidError(f"{key} holds the manifest of {manifest.database}/{manifest.id}")
    sealed = {manifest.seal is not None, manifest.sealed is not None, SEALED in manifest.requires}
    if len(sealed) > 1:
        raise ManifestInvalidError(f"{key} has only a part of what a sealed manifest has")
    return manifest


def _check_support(content: dict[str, Any], key: str) -> None:
    version = content.get("format")
    if version != FORMAT:
        raise FormatUnsupportedError(f"{key} has format {version!r}; this version reads format {FORMAT}")
    requires = content.get("requires")
    if not isinstance(requires, list) or not all(isinstance(item, str) for item in requires):
        raise ManifestInvalidError(f"{key} has no list `requires`")
    unknown = sorted(set(requires) - CAPABILITIES)
    if unknown:
        raise FormatUnsupportedError(f"{key} requires {', '.join(unknown)}, which this version doesn't know")
