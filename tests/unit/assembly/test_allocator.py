"""The allocator keeps large buffers instead of mapping each anew."""

import subprocess
import sys

import pytest

from switchgear.assembly.allocator import MALLOC

# The second field of glibc's mallinfo2 that we look at counts what is mapped for single buffers.
MAPPED = """
import ctypes, sys
from switchgear.assembly.allocator import tune

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                 "uordblks", "fordblks", "keepcost")]

look = ctypes.CDLL(None).mallinfo2
look.restype = Info
assert tune(eval(sys.argv[1]))
before = look().hblks
kept = bytearray(1 << 20)
print(look().hblks - before)
"""


def mapped(environ: dict[str, str]) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", MAPPED, repr(environ)], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="platform: glibc is Linux's")
def test_a_large_buffer_is_not_mapped_for_itself() -> None:
    assert mapped({}) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="platform: glibc is Linux's")
def test_what_the_operator_has_set_wins() -> None:
    assert mapped(dict(MALLOC)) == 1
