"""`python -m router.providers.fake --script FILE [--host 127.0.0.1] [--port 0]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from router.errors import ConfigError


def main() -> int:
    """Serve until stopped. The exit code is 2 if the script cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m router.providers.fake", description=__doc__)
    parser.add_argument("--script", required=True, type=Path, metavar="FILE", help="how the models behave")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8089, type=int, help="0 picks a free one (default: %(default)s)")
    options = parser.parse_args()
    try:
        from router.providers.fake.script import load_script
        from router.providers.fake.server import serve

        serve(load_script(options.script), host=options.host, port=options.port)
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: cannot listen on `{options.host}:{options.port}`: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
