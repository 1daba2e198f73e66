"""`python -m forebay.cloud.replay TRACE --cards 64x8:h100-sxm`: the figures as JSON, for tuning. People use `forebay replay`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from forebay.cloud.replay import readers, site
from forebay.cloud.replay.run import POLICIES, replay
from forebay.cloud.replay.trace import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--cards", default="64x8:h100-sxm")
    parser.add_argument("--policy", default="forebay", choices=list(POLICIES))
    parser.add_argument("--resumable", type=float, default=1.0)
    parser.add_argument("--restart", type=float, default=60.0)
    parser.add_argument("--known", action="store_true", default=None)
    parser.add_argument("--one-tenant", action="store_true")
    parser.add_argument("--most", type=int, default=0, help="only so many jobs")
    parser.add_argument("--part", default="")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rigid", action="store_true")
    asked = parser.parse_args()
    trace = readers.read(asked.trace, part=asked.part, data=asked.data)
    if asked.most:
        trace = trace.first(asked.most)
    settings = Settings(
        known=asked.known,
        resumable=asked.resumable,
        restart_s=asked.restart,
        elastic=not asked.rigid,
        tenants=not asked.one_tenant,
    )
    outcome = replay(trace, site.parse(asked.cards), asked.policy, settings)
    print(json.dumps(asdict(outcome.figures), indent=1))


if __name__ == "__main__":
    main()
