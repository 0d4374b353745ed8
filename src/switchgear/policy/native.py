"""Native: what a compiler of classes is told of one whose objects come and go with every call.

`@native(free_list_len=1)` has the memory of the last object that was freed kept for the next: that
is half of what an object costs. The decorator is mypyc's, which is not there when the package runs,
and leaves a class as it is where nothing is compiled.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as native
else:

    def native(**_: object):
        """Leave a class as it is."""
        return lambda kind: kind


__all__ = ["native"]
