"""What a shape is made of: every node of it, once, though types may contain themselves."""

from collections.abc import Iterator

from switchgear.binding.shape import Array, Leaf, Node, Object, Row, Table

__all__ = ["beneath"]


def beneath(root: Node) -> Iterator[Node]:
    """Yield a shape and all that stands in it."""
    seen: set[int] = set()
    later: list[Node] = [root]
    while later:
        node = later.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, Row):  # which is a leaf, too
            later += node.items
        elif isinstance(node, Object):
            later += [field.node for field in node.fields.values()]
        elif isinstance(node, Array):
            later.append(node.item)
        elif isinstance(node, Table):
            later.append(node.value)
        elif not isinstance(node, Leaf):
            later += [node.leaf, *node.objects.values(), *node.rows]
            later += [node.array] if node.array else []
