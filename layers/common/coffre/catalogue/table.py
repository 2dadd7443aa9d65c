"""The catalogue's table: DynamoDB's calls and errors, translated once.

Items have a partition key ``pk`` (``DB#<database>``) and a sort key ``sk``.  Nothing is ever deleted here:
the functions' roles don't allow it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import CatalogueUnavailableError

Item = dict[str, Any]

_KEPT = timedelta(days=30)


def expiry(deadline: datetime) -> int:
    """When an item of a run may go: a month after the run's deadline.

    Returns
    -------
    int
        Seconds since the epoch, as DynamoDB's time to live takes them.
        Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
    """
    return int((deadline + _KEPT).timestamp())


class Table:
    """One table.

    Parameters
    ----------
    client:
        A boto3 DynamoDB client.
    name:
        The table's name.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, database: str, sort: str) -> Item | None:
        """One item as it is now, or None."""
        answer = self._call("get_item", Key=_key(database, sort), ConsistentRead=True)
        return _load(answer["Item"]) if "Item" in answer else None

    def query(self, database: str, prefix: str, *, newest_first: bool = False) -> Iterator[Item]:
        """The items whose sort key starts with ``prefix``, in its order, page by page."""
        start: Item = {}
        while True:
            answer = self._call(
                "query",
                KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
                ExpressionAttributeValues=_dump({":pk": f"DB#{database}", ":prefix": prefix}),
                ScanIndexForward=not newest_first,
                ConsistentRead=True,
                **start,
            )
            yield from map(_load, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def put(self, database: str, sort: str, values: Mapping[str, Any]) -> None:
        """Write a whole item."""
        self._call("put_item", Item=_dump({"pk": f"DB#{database}", "sk": sort, **values}))

    def update(
        self,
        database: str,
        sort: str,
        values: Mapping[str, Any],
        *,
        add: Mapping[str, int] | None = None,
        condition: str = "",
        given: Mapping[str, Any] | None = None,
    ) -> bool:
        """Set attributes of an item, which is made if it doesn't exist.

        The client sends a request again whose answer was lost.  So that the second knows the first as its
        own, a conditional update leaves the mark of its call, and holds where it finds that.

        Parameters
        ----------
        values:
            Attributes by name; one that is None is removed.
        add:
            What is added to attributes that are numbers; one that isn't there counts as zero.
        condition:
            A condition expression; names of attributes in it stand behind ``#``, values behind ``:``.
        given:
            The condition's values by name, without the colon.

        Returns
        -------
        bool
            False if the condition didn't hold: nothing was changed.
        """
        if condition:
            values = {**values, "call": secrets.token_hex(8)}
            condition = f"({condition}) OR #call = :set_call"
        present = {name: value for name, value in values.items() if value is not None}
        absent = [name for name in values if name not in present]
        expression = "SET " + ", ".join(f"#{name} = :set_{name}" for name in present)
        if absent:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in absent)
        if add:
            expression += " ADD " + ", ".join(f"#{name} :add_{name}" for name in add)
        names = {*values, *(add or {}), *_names(condition)}
        parameters = {f":set_{name}": value for name, value in present.items()}
        parameters |= {f":add_{name}": value for name, value in (add or {}).items()}
        parameters |= {f":{name}": value for name, value in (given or {}).items()}
        conditional = {"ConditionExpression": condition} if condition else {}
        try:
            self._call(
                "update_item",
                Key=_key(database, sort),
                UpdateExpression=expression,
                ExpressionAttributeNames={f"#{name}": name for name in names},
                ExpressionAttributeValues=_dump(parameters),
                **conditional,
            )
        except _ConditionFailedError:
            return False
        return True

    def _call(self, operation: str, **parameters: Any) -> Item:
        try:
            answer: Item = getattr(self._client, operation)(TableName=self._name, **parameters)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ConditionalCheckFailedException":
                raise _ConditionFailedError from error
            raise CatalogueUnavailableError(f"table {self._name} answered {code}") from error
        except BotoCoreError as error:
            raise CatalogueUnavailableError(f"table {self._name}: {type(error).__name__}") from error
        return answer


class _ConditionFailedError(Exception):
    """A condition didn't hold; never leaves this module."""


def _names(condition: str) -> set[str]:
    return {
        word.lstrip("(#").rstrip("),") for word in condition.replace("(", " ").split() if word.startswith("#")
    }


def _key(database: str, sort: str) -> Item:
    return {"pk": {"S": f"DB#{database}"}, "sk": {"S": sort}}


def _dump(values: Mapping[str, Any]) -> Item:
    serializer = TypeSerializer()
    return {name: serializer.serialize(value) for name, value in values.items()}


def _load(item: Item) -> Item:
    deserializer = TypeDeserializer()
    return {name: deserializer.deserialize(value) for name, value in item.items()}
