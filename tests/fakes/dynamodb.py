"""DynamoDB in memory, as far as `coffre.catalogue.table` uses it, and EventBridge's ear."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

Item = dict[str, Any]

_WORDS = {"AND": "and", "OR": "or", "NOT": "not", "IN": "in", "=": "==", "<>": "!="}
_TOKEN = re.compile(r"<>|<=|>=|[#:]\w+|\w+|[=<>(),]")
_FUNCTIONS: dict[str, Callable[[Any], bool]] = {
    "attribute_not_exists": lambda value: value is _ABSENT,
    "attribute_exists": lambda value: value is not _ABSENT,
}


class _Absent:
    """A missing attribute: no comparison with it holds, except that it differs from anything."""

    def _never(self, _: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _never
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True


_ABSENT = _Absent()


class MemoryDynamo:
    """The twin of a DynamoDB client with one table; ``tests/unit/catalogue`` holds it to what moto does."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}

    def create_table(self, **_: Any) -> None:
        """There is one already."""

    def delete_table(self, **_: Any) -> None:
        """Forget everything."""
        self.items.clear()

    def get_item(self, *, Key: Item, **_: Any) -> Item:  # noqa: N803 - boto3's names
        """One item."""
        found = self.items.get(_place(Key))
        return {"Item": dict(found)} if found is not None else {}

    def put_item(self, *, Item: Item, **_: Any) -> Item:  # noqa: N803
        """A whole item."""
        self.items[_place(Item)] = dict(Item)
        return {}

    def query(
        self,
        *,
        ExpressionAttributeValues: Item,  # noqa: N803
        ScanIndexForward: bool,  # noqa: N803
        **_: Any,
    ) -> Item:
        """The items of a partition whose sort key begins with a prefix; always one page."""
        partition = ExpressionAttributeValues[":pk"]["S"]
        prefix = ExpressionAttributeValues[":prefix"]["S"]
        keys = sorted(k for k in self.items if k[0] == partition and k[1].startswith(prefix))
        return {"Items": [dict(self.items[key]) for key in (keys if ScanIndexForward else keys[::-1])]}

    def update_item(
        self,
        *,
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ExpressionAttributeNames: dict[str, str],  # noqa: N803
        ExpressionAttributeValues: Item,  # noqa: N803
        ConditionExpression: str = "",  # noqa: N803
        **_: Any,
    ) -> Item:
        """Set, remove and add to attributes if the condition holds."""
        item = dict(self.items.get(_place(Key), Key))
        if ConditionExpression and not _holds(
            ConditionExpression, item, ExpressionAttributeNames, ExpressionAttributeValues
        ):
            answer = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}}
            raise ClientError(answer, "UpdateItem")
        expression, _, additions = UpdateExpression.removeprefix("SET ").partition(" ADD ")
        settings, _, removals = expression.partition(" REMOVE ")
        for addition in filter(None, additions.split(", ")):
            name, value = addition.split(" ")
            before = item.get(ExpressionAttributeNames[name], {"N": "0"})
            total = int(before["N"]) + int(ExpressionAttributeValues[value]["N"])
            item[ExpressionAttributeNames[name]] = {"N": str(total)}
        for setting in settings.split(", "):
            name, value = setting.split(" = ")
            item[ExpressionAttributeNames[name]] = ExpressionAttributeValues[value]
        for name in removals.split(", ") if removals else ():
            item.pop(ExpressionAttributeNames[name], None)
        self.items[_place(Key)] = item
        return {}


class MemoryEvents:
    """The twin of an EventBridge client: remembers what was put."""

    def __init__(self) -> None:
        self.entries: list[Item] = []

    def put_events(self, *, Entries: list[Item]) -> Item:  # noqa: N803
        """Take the entries."""
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{} for _ in Entries]}


def _place(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _holds(condition: str, item: Item, names: dict[str, str], values: Item) -> bool:
    """Whether a condition holds, by Python's own rules: the two languages differ in a few words only."""
    load = TypeDeserializer().deserialize
    known: dict[str, Any] = dict(_FUNCTIONS)
    words = []
    for token in _TOKEN.findall(condition):
        word = _WORDS.get(token, token)
        if token[0] in "#:":
            word = f"v{len(known)}"
            attribute = item.get(names[token]) if token[0] == "#" else values[token]
            known[word] = _ABSENT if attribute is None else load(attribute)
        words.append(word)
    return bool(eval(" ".join(words), {"__builtins__": {}}, known))  # noqa: S307 - the library's own condition
