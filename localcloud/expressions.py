"""DynamoDB's update expressions, in a fraction of the time that moto takes to check and carry out one."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser, Node  # type: ignore[attr-defined]
from moto.dynamodb.parsing.validators import ActionCountValidator, OverlappingPathsValidator

_OF_THE_WHOLE = (ActionCountValidator, OverlappingPathsValidator)
"""They look for what is below a node: what they find at the root is all that they find anywhere."""

_is: Callable[[Any, Any], bool] = cache(issubclass)
"""Abstract classes look at length, each time."""


def install() -> None:
    """Let moto of this process do it so."""
    DepthFirstTraverser.traverse = traverse
    Node.__deepcopy__ = copy


def traverse(traverser: DepthFirstTraverser, node: Any) -> Any:
    """What `DepthFirstTraverser.traverse` does, with one look at what the traverser is there for.

    moto's asks it at each node, of which a short update has more than a hundred, ten times over.
    """
    if isinstance(traverser, _OF_THE_WHOLE):
        return traverser.process(node)
    return _walk(traverser, traverser.nodes_to_be_processed(), node, -1)


def _walk(traverser: DepthFirstTraverser, kinds: tuple[type, ...], node: Any, place: int) -> Any:
    parent = node.parent
    for number, child in enumerate(node.children or ()):
        traverser.pre_processing_of_child(node, number)
        if _is(type(child), Node):
            _walk(traverser, kinds, child, number)
    if _is(type(node), kinds):
        node = traverser.process(node)
        node.parent = parent
        if parent:
            parent.children[place] = node
    return node


def copy(node: Any, memo: dict[int, Any]) -> Any:
    """What ``copy.deepcopy`` makes of a node: it and what is below it, and nothing of what is above."""
    twin = memo[id(node)] = object.__new__(type(node))
    twin.__dict__.update(node.__dict__)
    if node.children is not None:
        twin.children = [deepcopy(child, memo) for child in node.children]
        for child in twin.children:
            if _is(type(child), Node):
                child.parent = twin
    return twin
