"""What is shared as it is: a copy of what holds it has the same one, another process has none."""

from typing import Any, NoReturn, Self

__all__ = ["Shared"]


class Shared:
    """Be the same one in every copy of what holds it, as a module or a class is.

    Settings that are copied deeply, as data classes and models do it, would else have one that
    knows half of the calls. It holds loops, threads and permits: those cannot be sent to another
    process.
    """

    def __init_subclass__(cls) -> None:
        """Refuse to be inherited from twice: what is shared is led around methods of its own."""
        if Shared not in cls.__bases__:
            (base, *_) = cls.__bases__
            right = f"an object that has a {base.__name__}, or a function that makes one"
            raise TypeError(f"class {cls.__name__}({base.__name__}): {right} would be right")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} stays in its process: have the other one make its own")
