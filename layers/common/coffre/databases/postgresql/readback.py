"""Reading a restored relation back: what it must give, and the worker that looks."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.copy import copy_out
from coffre.databases.postgresql.reading import read_rows
from coffre.databases.postgresql.statements import copy_to, copy_tree_to, generated_to, generated_tree_to
from coffre.databases.postgresql.target import Target
from coffre.vault.parts import Relation, decode_record, encode_record
from coffre.vault.rows import DigestSink
from coffre.workers import Message


@dataclass(frozen=True)
class Expected:
    """What one COPY of the restored database must give: a relation, or a whole partition tree."""

    label: str
    relation: Relation
    rows: int
    digest: int
    generated: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Schema and name of the table that is read."""
        relation = self.relation
        if relation.load == "root":
            return str(relation.root_schema), str(relation.root_name)
        return relation.schema, relation.name

    def item(self) -> Message:
        """A work item for `CompareTask`."""
        return {
            "relation": encode_record(self.relation).decode(),
            "label": self.label,
            "rows": self.rows,
            "digest": f"{self.digest:032x}",
            "generated": self.generated,
        }


class CompareTask:
    """A comparing worker process: digests of the relations that the parent names."""

    def __init__(self, setup: Message) -> None:
        self._session = open_session(
            Target(**setup["target"]), seconds=setup["seconds"], application="coffre/compare"
        )
        self._session.run(f"SET client_encoding = '{setup['encoding']}'")

    def run(self, item: Message) -> Message:
        """Read one relation, or only ``pages`` of it; the answer holds its rows and digest."""
        relation = decode_record(item["relation"].encode())
        if not isinstance(relation, Relation):
            raise TypeError("an item holds a relation")
        sink, given = DigestSink(), item.get("pages")
        pages = (given[0], given[1]) if given else None
        content, computed_ones = copy_to, generated_to
        if relation.load == "root":
            content, computed_ones = copy_tree_to, generated_tree_to
        rows = read_rows(self._session, relation, content(relation, pages), sink)
        answer = {"rows": rows, "digest": sink.digest.hex(), "bytes": sink.bytes, "generated": ""}
        if item["generated"]:
            computed = DigestSink()
            copy_out(self._session, computed_ones(relation, pages), computed)
            answer["generated"] = computed.digest.hex()
        return answer

    def finish(self) -> Message:
        """End the session."""
        self._session.close()
        return {}
