"""Compile modules with mypyc: `compiling.py GROUP MADE SCRATCH MODULE...`, where their source is.

`native.py` runs it. The libraries are put into MADE; GROUP names the one that all of them share.
"""

import sys
from pathlib import Path
from typing import Final

from mypyc.build import mypycify
from setuptools import setup  # type: ignore[import-untyped]  # it ships no types

PLACE: Final = '#include "__native_'
AWAITS: Final = "= CPy_GetCoro("
COROUTINES: Final = """
static inline PyObject *coroutine_of(PyObject *awaited)
{
    return PyCoro_CheckExact(awaited) ? Py_NewRef(awaited) : CPy_GetCoro(awaited);
}
"""


def send_to_coroutines(written: Path) -> None:
    """Have what is compiled await a coroutine as the interpreter does: by sending to it.

    mypyc makes an object around it first, whose end is an exception: 80 ns for every await of a
    function that is not compiled. Raises RuntimeError where it writes something else by now.
    """
    before, found, after = written.read_text("utf-8").partition(PLACE)
    if not found or AWAITS not in after:
        raise RuntimeError(f"mypyc awaits in another way now: look for {AWAITS!r} in {written}")
    line, end, code = after.partition("\n")
    code = code.replace(AWAITS, "= coroutine_of(")
    written.write_text(f"{before}{found}{line}{end}{COROUTINES}{code}", "utf-8")


def main(group: str, made: str, scratch: str, *modules: str) -> None:
    """Write C, and compile it."""
    extensions = mypycify(
        [
            "--config-file=",
            "--ignore-missing-imports",
            "--follow-imports=silent",
            f"--python-version={sys.version_info.major}.{sys.version_info.minor}",
            f"--cache-dir={scratch}/cache",
            *modules,
        ],
        opt_level="3",
        debug_level="0",
        target_dir=scratch,
        group_name=group,
    )
    send_to_coroutines(Path(scratch, f"__native_{group}.c"))
    sys.argv[1:] = ["--quiet", "build_ext", "--build-lib", made, "--build-temp", scratch]
    setup(name=group, ext_modules=extensions)


if __name__ == "__main__":
    main(*sys.argv[1:])
