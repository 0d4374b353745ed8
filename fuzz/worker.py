"""One worker: one target under libFuzzer, by atheris, or blindly where there is no atheris.

    python -m fuzz.worker TARGET [-runs=N] [-max_total_time=S] [-seed=S] [-artifact_prefix=P] [DIR]

The flags are libFuzzer's. What breaks a rule is written to P and named on standard error.
"""

import hashlib
import re
import sys
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any, Final

# What libFuzzer sees the branches of.
WATCHED: Final = (
    "switchgear.http",
    "switchgear.gateway",
    "switchgear.identity",
    "switchgear.policy.codec",
    "switchgear.policy.remaining",
    "switchgear.policy.status",
)
KNOWN: Final = 2000
FOUND: Final = 77  # the exit code of libFuzzer, too


def main() -> None:
    name, flags = sys.argv[1], sys.argv[2:]
    try:
        import atheris
    except ImportError:
        _blindly(name, flags)
        return
    with atheris.instrument_imports(include=list(WATCHED), enable_loader_override=False):
        from fuzz.targets import TARGETS
    target = TARGETS[name]
    # Made beforehand: to make one for each mutation would cost more than most targets do.
    known = [target.grammar(Random(number)) for number in range(KNOWN)]

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        kind = random.random()
        if kind < 0.3:
            return bytes(atheris.Mutate(data, most))
        made = target.make(random) if kind < 0.4 else target.vary(random, data, known)
        return made[:most]

    # The first word is what libFuzzer starts again, by a shell, where it merges.
    own = [f"{sys.executable} -m fuzz.worker {name}", f"-max_len={target.most}", "-mutate_depth=2"]
    atheris.Setup([*own, *flags], target.run, custom_mutator=mutate)
    atheris.Fuzz()


def _blindly(name: str, flags: list[str]) -> None:
    """Make inputs without seeing what they reach."""
    from fuzz.targets import TARGETS

    target = TARGETS[name]
    given: dict[str, Any] = dict(re.findall(r"-(\w+)=(.*)", "\n".join(flags)))
    if "merge" in given:
        sys.exit("nothing can be merged without atheris")
    folders = [Path(flag) for flag in flags if not flag.startswith("-")]
    known = [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())]
    random = Random(int(given.get("seed", 0)))
    until = time.monotonic() + (float(given.get("max_total_time", 0)) or float("inf"))
    done, most = 0, int(given.get("runs", -1))
    while done != most and time.monotonic() < until:
        data = target.make(random)
        if known and random.random() < 0.5:
            data = target.vary(random, random.choice(known), known)
        done += 1
        try:
            target.run(data)
        except BaseException:
            traceback.print_exc()
            crash = Path(
                f"{given.get('artifact_prefix', './')}crash-{hashlib.sha1(data).hexdigest()}"
            )
            crash.write_bytes(data)
            print(f"Test unit written to {crash}", file=sys.stderr)
            print(f"stat::number_of_executed_units: {done}", file=sys.stderr)
            sys.exit(FOUND)
    print(f"stat::number_of_executed_units: {done}", file=sys.stderr)


if __name__ == "__main__":
    main()
