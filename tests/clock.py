"""Runs a command with the clock of the calendar moved: `python tests/clock.py 35 pytest -q`.

No test may depend on today's date. Every process of the command, Redis included, sees the moved date;
clocks that measure durations stay as they are. libfaketime 0.9.10 cannot do that for Python: without
its monotonic clock `time.sleep` fails, with it `Event.wait` never returns.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


def main() -> int:
    """Compile the interposer and run the command below it; its exit code."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        sys.exit("clock: no C compiler: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
        moved = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_S": str(int(sys.argv[1]) * 86_400)}
        return subprocess.run(sys.argv[2:], env={**os.environ, **moved}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
