"""``docs/format.md`` is true: each byte that it shows is the real backup's, and its commands restore one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash
import zstandard

from coffre.databases.postgresql.server import EphemeralServer
from coffre.vault.keys import SealKeys
from coffre.vault.layout import Layout
from coffre.vault.manifest import CAPABILITIES, Manifest, StoredFile, decode, encode
from coffre.vault.parts import Chunk, End, decode_record, encode_record
from tests.fakes.kms import MemoryKms
from tests.fakes.store import MemoryStore
from tests.golden.content import content
from tests.support.encodings import create_named, named
from tests.support.postgres import CUSTOMER, create, customer_server, target
from tests.support.vault import Verbs, export

HERE = Path(__file__).parent
EXAMPLE = HERE / "example" / "vault"
SEALED = HERE / "format1" / "sealed18"
DOCUMENT = (HERE.parents[1] / "docs" / "format.md").read_text()
BLOCKS = re.findall(r"^```(\w+) (\S+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
SHOWN = {path: (kind, text) for kind, path, text in BLOCKS if path.startswith("shop/")}
[UNSEAL] = [text for kind, name, text in BLOCKS if (kind, name) == ("python", "unseal")]
[SCRIPT] = [text for kind, name, text in BLOCKS if (kind, name) == ("bash", "restore")]
ZSTD = """#!{python}
import shutil, sys, zstandard
zstandard.ZstdDecompressor().copy_stream(open(sys.argv[3], "rb"), sys.stdout.buffer)
"""


def unpacked(path: Path) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()


def hex_of(body: bytes) -> str:
    """As xxd shows it, without its third column."""
    pairs = [body[at : at + 2].hex() for at in range(0, len(body), 2)]
    lines = [pairs[at : at + 8] for at in range(0, len(pairs), 8)]
    return "".join(f"{16 * number:08x}: {' '.join(line)}\n" for number, line in enumerate(lines))


def manifest() -> Manifest:
    [path] = EXAMPLE.glob("shop/backups/*/manifest.json")
    return decode(path.read_bytes(), key=str(path.relative_to(EXAMPLE)))


@pytest.mark.parametrize("path", sorted(SHOWN))
def test_what_is_shown_is_what_the_example_holds(path: str) -> None:
    kind, text = SHOWN[path]
    if kind == "hex":
        shown = re.sub(r"^(\w+: .*?)  .*$", r"\1", text, flags=re.MULTILINE)
        assert shown == hex_of((EXAMPLE / path).read_bytes())
    elif kind == "ndjson":
        assert text.encode() == unpacked(EXAMPLE / path)
    else:
        assert text.encode() == (EXAMPLE / path).read_bytes()


def test_everything_but_archives_and_the_empty_part_is_shown() -> None:
    held = {str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*") if path.is_file()}
    hidden = {path for path in held - set(SHOWN) if path.endswith((".pgdump", ".sql")) or "/parts/2-" in path}
    assert set(SHOWN) | hidden == held
    assert len(SHOWN) == 5


def test_the_examples_numbers_follow_from_its_bytes() -> None:
    found = manifest()
    assert f"the root hash, is `{hashlib.sha256(encode(found)).hexdigest()}`" in DOCUMENT
    records = [
        decode_record(line) for part in found.parts for line in unpacked(EXAMPLE / part.key).splitlines()
    ]
    [chunk] = [record for record in records if isinstance(record, Chunk)]
    [end] = [record for record in records if isinstance(record, End)]
    text = unpacked(EXAMPLE / chunk.key)
    assert f"```text\n{text.decode()}```" in DOCUMENT
    assert chunk.id == hashlib.sha256(text).hexdigest()
    assert chunk.key == Layout("shop").chunk(chunk.id)
    assert (chunk.rows, chunk.bytes) == (end.rows, end.bytes) == (text.count(b"\n"), len(text))
    total = 0
    for row in text.splitlines():
        total += xxhash.xxh3_128_intdigest(row)
        assert f"| `{row.decode()}` | `{xxhash.xxh3_128_hexdigest(row)}` |" in DOCUMENT
    assert f"{total % (1 << 128):032x}" == end.digest
    assert f"| sum modulo 2^128 | `{end.digest}` |" in DOCUMENT
    [refs] = found.refs
    assert (EXAMPLE / refs.key).read_bytes().hex() == chunk.id
    files: list[StoredFile] = [*found.files, *found.parts, *found.refs]
    for key, size, sha256 in [
        *((file.key, file.size, file.sha256) for file in files),
        (chunk.key, chunk.stored, chunk.sha256),
    ]:
        body = (EXAMPLE / key).read_bytes()
        assert (size, sha256) == (len(body), hashlib.sha256(body).hexdigest())


def test_this_version_writes_the_examples_bytes_again() -> None:
    found = manifest()
    assert encode(found) == (EXAMPLE / Layout("shop").manifest(found.id)).read_bytes()
    for part in found.parts:
        for line in unpacked(EXAMPLE / part.key).splitlines(keepends=True):
            assert encode_record(decode_record(line)) == line


def test_every_field_and_capability_is_explained() -> None:
    names = {*Manifest.model_fields, *CAPABILITIES, *(name for name in manifest().totals.model_dump())}
    assert [name for name in sorted(names) if f"`{name}`" not in DOCUMENT] == []


def programs(folder: Path) -> str:
    """Where programs are found, the packer among them."""
    if shutil.which("zstd") is None:
        program = folder / "zstd"
        program.write_text(ZSTD.format(python=sys.executable))
        program.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


def by_hand(
    vault: Path, server: EphemeralServer, tools: Path, folder: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the document's script on a vault in plain files."""
    [path] = vault.glob("shop/backups/*/manifest.json")
    environment = {
        "PATH": os.pathsep.join([str(tools / str(server.major) / "bin"), programs(folder)]),
        "PGHOST": str(server.socket_dir),
        "PGPORT": str(server.port),
        "PGUSER": CUSTOMER,
        "DATABASE": "shop",
        "BACKUP": path.parent.name,
        "TARGET": "by hand; again",
        **more,
    }
    return subprocess.run(
        ["/bin/bash", "-c", SCRIPT], cwd=vault, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "archive",
    [
        "example",
        "format1/postgresql16",
        "format1/postgresql18",
        "format1/slices18",
        "format1/objects18",
    ],
)
def test_the_commands_restore_a_vault_equal(
    archive: str, postgres_root: Path, scratch_root: Path, tmp_path: Path
) -> None:
    major = 18 if archive.endswith("18") else 16
    with customer_server(postgres_root, major, scratch_root) as server:
        done = by_hand(HERE / archive / "vault", server, postgres_root, tmp_path)
        assert done.returncode == 0, done.stderr
        expected = json.loads((HERE / archive / "content.json").read_text())
        assert content(target(server, "by hand; again")) == expected


NEW = """
CREATE ROLE "a reader";
CREATE TABLE t (id serial, what text); INSERT INTO t (what) VALUES ('one'), ('two');
GRANT SELECT, UPDATE ON SEQUENCE t_id_seq TO "a reader"; COMMENT ON SEQUENCE t_id_seq IS 'of t';
CREATE VIEW v AS SELECT what FROM t; GRANT SELECT ON v TO PUBLIC; GRANT SELECT (what) ON t TO "a reader";
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION f() FROM PUBLIC;
CREATE TYPE mood AS ENUM ('low'); GRANT USAGE ON TYPE mood TO "a reader"; COMMENT ON TYPE mood IS 'a type';
CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO "a reader"; CREATE SEQUENCE s.q START 7; SELECT nextval('s.q');
SELECT lo_from_bytea(0, 'bytes');
"""
"""Things of each kind with rights and comments."""


def test_the_commands_restore_what_this_version_writes(
    postgres_root: Path, scratch_root: Path, tmp_path: Path
) -> None:
    with customer_server(postgres_root, 16, scratch_root) as server:
        made, store = create(server, "shop", NEW), MemoryStore()
        Verbs(store, postgres_root, scratch_root).backup(made)
        export(store, tmp_path / "vault")
        done = by_hand(tmp_path / "vault", server, postgres_root, tmp_path)
        assert done.returncode == 0, done.stderr
        assert content(target(server, "by hand; again")) == content(made)


def test_the_commands_restore_names_of_another_encoding(
    postgres_root: Path, scratch_root: Path, tmp_path: Path
) -> None:
    vault = tmp_path / "vault"
    with customer_server(postgres_root, 16, scratch_root) as server:
        store = MemoryStore()
        source = create_named(server, "LATIN1", "latin")
        Verbs(store, postgres_root, scratch_root).backup(source)
        export(store, vault)
        expected = named(source)
    with customer_server(postgres_root, 16, scratch_root) as server:
        done = by_hand(vault, server, postgres_root, tmp_path)
        assert done.returncode == 0, done.stderr
        assert named(target(server, "by hand; again")) == expected


def unseal(vault: Path, folder: Path, data_key: bytes) -> subprocess.CompletedProcess[str]:
    """Run the document's other program on a vault in plain files."""
    (folder / "unseal.py").write_text(UNSEAL)
    [path] = vault.glob("shop/backups/*/manifest.json")
    return subprocess.run(
        [sys.executable, folder / "unseal.py", path.relative_to(vault)],
        cwd=vault,
        env={"PATH": programs(folder)},
        input=base64.b64encode(data_key).decode(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_restore_a_sealed_vault_equal(
    postgres_root: Path, scratch_root: Path, tmp_path: Path
) -> None:
    vault = Path(shutil.copytree(SEALED / "vault", tmp_path / "vault"))
    opened = unseal(vault, tmp_path, data_key(vault))
    assert opened.returncode == 0, opened.stderr
    with customer_server(postgres_root, 18, scratch_root) as server:
        done = by_hand(vault, server, postgres_root, tmp_path, UNSEALED="yes")
        assert done.returncode == 0, done.stderr
        expected = json.loads((SEALED / "content.json").read_text())
        assert content(target(server, "by hand; again")) == expected


@pytest.mark.parametrize(("kind", "said"), [("chunks/*/*", "recorded"), ("backups/*/manifest.json", "alter")])
def test_nothing_is_opened_that_was_altered(kind: str, said: str, tmp_path: Path) -> None:
    vault = Path(shutil.copytree(SEALED / "vault", tmp_path / "vault"))
    key = data_key(vault)
    path = next(vault.glob(f"shop/{kind}"))
    path.write_bytes(path.read_bytes().replace(b'"encoding": "UTF8"', b'"encoding": "LATIN1"') + b" ")
    opened = unseal(vault, tmp_path, key)
    assert opened.returncode != 0
    assert said in opened.stderr


def data_key(vault: Path) -> bytes:
    """What KMS says that the archive's data key is."""
    [path] = vault.glob("shop/backups/*/manifest.json")
    seal = decode(path.read_bytes(), key=str(path.relative_to(vault))).seal
    assert seal is not None
    return SealKeys(lambda _: MemoryKms()).unwrap(seal).secret


@pytest.mark.parametrize("kind", ["chunks/*/*", "backups/*/*/parts/1-*", "backups/*/*/schema-*"])
def test_the_commands_stop_at_an_object_that_is_not_the_recorded_one(
    kind: str, postgres_root: Path, scratch_root: Path, tmp_path: Path
) -> None:
    vault = Path(shutil.copytree(EXAMPLE, tmp_path / "vault"))
    [path] = vault.glob(f"shop/{kind}")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with customer_server(postgres_root, 16, scratch_root) as server:
        done = by_hand(vault, server, postgres_root, tmp_path)
        assert done.returncode != 0
        assert f"{path.relative_to(vault)}: FAILED" in done.stdout
