"""What IAM would say: policies of the template, resolved and evaluated as AWS documents it.

Only what the template uses is known; anything else is an error, so that a new condition or function can't
be overlooked.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Context = Mapping[str, str]
"""Condition keys that a request carries, lower case; a key that isn't there is absent from the request."""

_SUB = re.compile(r"\$\{([^}]+)\}")


class NotUnderstoodError(Exception):
    """The template uses something that this evaluator doesn't know."""


@dataclass(frozen=True)
class Statement:
    """A statement with everything resolved."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]]
    sid: str = ""
    other_actions: tuple[str, ...] = ()

    def covers(self, action: str, resource: str, context: Context) -> bool:
        """Whether it speaks of this request."""
        named = any(matches(pattern.lower(), action.lower()) for pattern in self.actions)
        if self.other_actions:
            named = not any(matches(pattern.lower(), action.lower()) for pattern in self.other_actions)
        return (
            named
            and any(matches(pattern, resource) for pattern in self.resources)
            and all(
                _holds(operator, key, values, context)
                for operator, keys in self.conditions.items()
                for key, values in keys.items()
            )
        )


@dataclass(frozen=True)
class Resolver:
    """Resolves the template's references.

    Attributes
    ----------
    names:
        Parameters, pseudo parameters and ``Logical.Arn`` by name.
    conditions:
        The template's conditions; all hold that aren't named.
    """

    names: Mapping[str, Any]
    conditions: Mapping[str, bool] = field(default_factory=dict)

    def __call__(self, value: Any) -> Any:
        """``value`` without references; what ``AWS::NoValue`` stood for is None."""
        if isinstance(value, list):
            return [item for item in map(self, value) if item is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: self(item) for key, item in value.items()}

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Ref":
            return None if argument == "AWS::NoValue" else self.names[argument]
        if name == "Fn::GetAtt":
            return self.names[argument if isinstance(argument, str) else ".".join(argument)]
        if name == "Fn::Sub":
            return _SUB.sub(lambda match: str(self.names[match[1]]), argument)
        if name == "Fn::If":
            return self(argument[1] if self.conditions.get(argument[0], True) else argument[2])
        raise NotUnderstoodError(name)

    def statements(self, document: Any) -> list[Statement]:
        """The statements of a policy document."""
        return [_statement(item) for item in self(document["Statement"])]

    def role(self, role: Mapping[str, Any]) -> list[Statement]:
        """The statements of all inline policies of a role's properties."""
        return [s for policy in role["Policies"] for s in self.statements(policy["PolicyDocument"])]


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: ``*`` is anything, slashes included; ``?`` is one character."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def allowing(
    statements: list[Statement], action: str, resource: str, context: Context
) -> Iterator[Statement]:
    """The statements that allow a request; none if one denies it."""
    covering = [s for s in statements if s.covers(action, resource, context)]
    if not any(statement.effect == "Deny" for statement in covering):
        yield from covering


def denied_by(statements: list[Statement], action: str, resource: str, context: Context) -> set[str]:
    """The names of the statements that deny a request."""
    return {s.sid for s in statements if s.effect == "Deny" and s.covers(action, resource, context)}


def _statement(item: Mapping[str, Any]) -> Statement:
    known = {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "Condition"}
    principal = item.get("Principal", "*")
    # What is allowed to another stack's principal, by name, adds nothing to what this stack's roles may do.
    if item.keys() - known or (
        principal != "*" and (item["Effect"] != "Allow" or principal.keys() != {"AWS"})
    ):
        raise NotUnderstoodError(str(item))
    conditions = {
        operator: {key.lower(): tuple(str(value) for value in _list(values)) for key, values in keys.items()}
        for operator, keys in item.get("Condition", {}).items()
    }
    return Statement(
        item["Effect"],
        tuple(_list(item.get("Action", []))),
        tuple(_list(item["Resource"])),
        conditions,
        item.get("Sid", ""),
        tuple(_list(item.get("NotAction", []))),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _holds(operator: str, key: str, values: tuple[str, ...], context: Context) -> bool:
    given = context.get(key)
    if operator == "Null":
        return (given is None) == (values == ("true",))
    if operator == "NumericGreaterThan":
        return given is not None and any(float(given) > float(value) for value in values)
    negated = operator in ("StringNotEquals", "ArnNotEquals")
    if operator not in ("StringEquals", "ArnEquals", "Bool") and not negated:
        raise NotUnderstoodError(operator)
    # An absent key makes a negated operator true and any other one false.
    found = given is not None and any(
        matches(value, given) if operator.startswith("Arn") else value == given for value in values
    )
    return found != negated
