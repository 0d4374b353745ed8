"""Compile modules with mypyc: `compiling.py GROUP MADE SCRATCH MODULE...`, where their source is.

`native.py` runs it. The libraries are put into MADE; GROUP names the one that all of them share.
"""

import re
import sys
from pathlib import Path
from typing import Final

import setuptools  # type: ignore[import-untyped]  # it ships no types; brings distutils to mypyc
from mypyc.build import mypycify

PLACE: Final = '#include "__native_internal_'
QUICK: Final = Path(__file__).with_name("quick.h")
REPLACED: Final = (
    "= CPy_GetCoro(",
    "= CPyObject_GetAttr(",
    "= CPyDict_GetItem(",
    "= CPyStr_Build(",
    "= CPyTagged_Str(",
    "= PySequence_Contains(",
    "= PyUnicode_Contains(",
    "= PyObject_Vectorcall(",
    "= PyObject_VectorcallMethod(",
)
# mypyc keeps the last coroutine that was freed for the next, and says so before it has let go of
# what that one held. If the end of an argument makes a coroutine of the same function, as clean-ups
# do, it gets the half-empty one, and loses its own arguments. (mypyc 2.4.1; a test shows it.)
KEPT: Final = re.compile(
    r"if \((\w+_free_instance) == NULL\) \{\n\s*\1 = self;\n((?:.*\n)*?)\s*return;\n\s*\}"
)
LET_GO: Final = r"if (\1 == NULL) {\n\2if (\1 == NULL) {\n\1 = self;\nreturn;\n}\n}"


def quicken(written: Path) -> None:
    """Have what is compiled ask what is not in the way that the header tells (`quick.h`).

    Raises RuntimeError where mypyc does not write any more what is replaced here.
    """
    before, found, after = written.read_text("utf-8").partition(PLACE)
    lacking = [call for call in REPLACED if call not in after]
    kept = after.count("_free_instance = self;")
    after, mended = KEPT.subn(LET_GO, after)
    if not found or lacking or not mended == kept > 0:
        raise RuntimeError(
            f"mypyc writes in another way now: look for {lacking or PLACE} in {written},"
            f" and for {KEPT.pattern!r}"
        )
    line, end, code = after.partition("\n")
    header = QUICK.read_text("utf-8")
    written.write_text(f"{before}{found}{line}{end}{header}{code}", "utf-8")


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
    quicken(Path(scratch, f"__native_{group}.c"))
    sys.argv[1:] = ["--quiet", "build_ext", "--build-lib", made, "--build-temp", scratch]
    setuptools.setup(name=group, ext_modules=extensions)


if __name__ == "__main__":
    main(*sys.argv[1:])
