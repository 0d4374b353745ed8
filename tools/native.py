"""Compile the modules that every call passes, and put them into the wheel beside their sources.

A hook of hatchling's: `HATCH_BUILD_HOOK_ENABLE_CUSTOM=true pip install .` builds with it, and needs
a C compiler and Python's headers. Without that variable the wheel is pure Python, and does the
same, more slowly (`docs/compiled.md`). Which modules are compiled stands in `pyproject.toml`.

Source: mypyc's documentation, "Compiling a package"; hatchling's, "Custom build hook".
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GROUP: Final = "switchgear"  # names the library that all compiled modules share
SETUP: Final = Path(__file__).with_name("compiling.py")


class NativeBuildHook(BuildHookInterface[Any]):
    """Adds the compiled modules to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is put together.

        Raises RuntimeError, with what the compilers said, when they fail.
        """
        if version == "editable":  # it is its sources
            return
        modules: list[str] = self.config["modules"]
        source = Path(self.root, "src")
        lacking = [name for name in modules if not (source / name).is_file()]
        if lacking:
            raise RuntimeError(f"tool.hatch...custom.modules: there is no {', '.join(lacking)}")
        self._folder = TemporaryDirectory()
        made, scratch = Path(self._folder.name, "made"), Path(self._folder.name, "scratch")
        scratch.mkdir()
        done = subprocess.run(
            [sys.executable, str(SETUP), GROUP, str(made), str(scratch), *modules],
            cwd=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"compiling failed:\n{done.stdout}")
        libraries = [path for path in made.rglob("*") if path.suffix in {".so", ".pyd", ".dylib"}]
        build_data["force_include"].update(
            {str(path): str(path.relative_to(made)) for path in libraries}
        )
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clean up what the wheel has taken in."""
        if version != "editable":
            self._folder.cleanup()
