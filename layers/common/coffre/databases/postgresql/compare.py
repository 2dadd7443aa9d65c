"""Comparing a restored database with what its backup recorded: content by digest, objects by number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Literal

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.inventory import read_sequences
from coffre.databases.postgresql.objects import count_objects
from coffre.databases.postgresql.readback import Expected
from coffre.results import Finding
from coffre.vault.contents import Contents
from coffre.vault.digest import MODULUS, add_digests
from coffre.vault.manifest import Manifest
from coffre.vault.parts import Relation, decode_record
from coffre.workers import Message

TEXT_CHANGED: Mapping[str, int] = {'"char"': 15}
"""Types whose text differs from the named major version on, in arrays, too.
Source: https://postgr.es/m/E1oIsu3-002Pg1-NP@gemulon.postgresql.org (bytes above 127, from 15beta3 on)"""

GENERATED_DIFFERS = "exception-generated"


def expectations(contents: Contents) -> Iterator[Expected]:
    """What is to be compared.  Leaves that were loaded through their root are compared as one tree."""
    trees: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, relation in contents.relations.items():
        if relation.load == "root":
            trees[str(relation.root_schema), str(relation.root_name)].append(number)
        else:
            end = contents.ends[number]
            yield Expected(relation.label, relation, end.rows, int(end.digest, 16), end.generated)
    for (schema, name), numbers in trees.items():
        ends = [contents.ends[number] for number in numbers]
        total = sum(int(end.digest, 16) for end in ends) % MODULUS
        rows = sum(end.rows for end in ends)
        generated = reduce(add_digests, (end.generated for end in ends)) if ends[0].generated else ""
        yield Expected(f"{schema}.{name}", contents.relations[numbers[0]], rows, total, generated)


def compare_items(expected: Iterable[Expected]) -> Iterator[Message]:
    """Work items for `CompareTask`, the largest relations first."""
    for entry in sorted(expected, key=lambda entry: -entry.rows):
        yield entry.item()


def judge(item: Message, answer: Message, *, source: int, here: int) -> Finding | None:
    """Compare one answer with its item; None if they are equal.

    Parameters
    ----------
    source, here:
        The major versions of the source and of the restored database's server.

    Returns
    -------
    Finding or None
        ``refuse`` for content that differs; ``warn`` where the text of a type changed between the versions,
        so that the digests can't be compared.
    """
    if (item["rows"], item["digest"]) == (answer["rows"], answer["digest"]):
        return _judge_generated(item, answer)
    label = item["label"]
    relation = decode_record(item["relation"].encode())
    changed = [
        column.type
        for column in (relation.columns if isinstance(relation, Relation) else ())
        if source < TEXT_CHANGED.get(column.type.removesuffix("[]"), 0) <= here
    ]
    if changed and item["rows"] == answer["rows"]:
        message = (
            f"{label}: the text of type {', '.join(changed)} differs between versions {source} and {here}"
        )
        return Finding(level="warn", code="text-changed", object=label, message=message)
    found, expected = (f"{side['rows']} rows with digest {side['digest']}" for side in (answer, item))
    message = f"{label}: {found}, expected {expected}"
    return Finding(level="refuse", code="content-differs", object=label, message=message)


def _judge_generated(item: Message, answer: Message) -> Finding | None:
    """Values that the restore computed again, where the source held others."""
    if item["generated"] == answer["generated"]:
        return None
    relation = decode_record(item["relation"].encode())
    columns = (
        ", ".join(column.name for column in relation.generated) if isinstance(relation, Relation) else ""
    )
    return Finding(
        level="refuse",
        code=GENERATED_DIFFERS,
        object=f"{item['label']} ({columns})",
        message=f"{item['label']}: generated columns ({columns}) were computed again and differ from the "
        f"source's stored values, in one or more of {item['rows']} rows",
        advice="A function that they use has changed since they were stored; write them anew at the source.",
    )


def compare_sequences(session: Session, contents: Contents) -> list[Finding]:
    """The sequences whose value isn't the recorded one."""
    named = [(sequence.schema, sequence.name) for sequence in contents.sequences]
    found = read_sequences(session, named)
    return [
        _difference(
            "sequence-differs", sequence.label, str(value), f"{sequence.last_value}, {sequence.is_called}"
        )
        for sequence, value in zip(contents.sequences, found, strict=True)
        if (str(value[0]), value[1]) != (sequence.last_value, sequence.is_called)
    ]


def compare_objects(
    session: Session,
    manifest: Manifest,
    excepted: Mapping[str, int] | None = None,
    *,
    without: str | None = None,
) -> list[Finding]:
    """The kinds of objects of which there are fewer than at the source; kinds that aren't known are ignored.

    Parameters
    ----------
    excepted:
        How many of a kind were named as exceptions already.
    without:
        A schema that the restore made for itself.
    """
    excepted = excepted or {}
    here = count_objects(session, without)
    return [
        _difference("objects-missing", kind, str(here[kind]), str(number))
        for kind, number in manifest.objects.items()
        if kind in here and here[kind] < number - excepted.get(kind, 0)
    ]


def _difference(code: str, what: str, found: str, expected: str) -> Finding:
    level: Literal["refuse"] = "refuse"
    return Finding(level=level, code=code, object=what, message=f"{what}: {found}, expected {expected}")
