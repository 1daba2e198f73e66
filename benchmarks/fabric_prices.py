"""How well published costs of fabrics come out of one price book, and how firm a ranking by cost is.

    python benchmarks/fabric_prices.py [--data FILE] [--json]

Counts are those of the records themselves (FILE in the format of the project's src/forebay/fabric/data/published.json). Bars: one
vector of prices gives every cost of DeepSeek's table within 0.6 %; one ratio of prices, a switch's port to a transceiver, gives
rail-only's savings within a tenth of a point, both ends of the published range (38 % and 77 %) among them. Beside the bars: the
second vector that explains DeepSeek's table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import stopwatch

import forebay.fabric
from forebay.errors import BadInput
from forebay.fabric import books
from forebay.fabric.prices import Lot, Quantities, price
from forebay.units import BITS_PER_BYTE, GB, MICRO_PER_UNIT

BAR_COST = 0.006
BAR_SAVING_POINTS = 0.1
DATA = Path(forebay.fabric.__file__).parent / "data" / "published.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    records = json.loads(asked.data.read_text())["topologies"]
    result = {"costs": costs(records), "savings": savings(records), "bar_cost": BAR_COST, "bar_points": BAR_SAVING_POINTS}
    if asked.json:
        print(json.dumps({**result, **stopwatch.machine()}, indent=2))
        return
    print(f"{'DeepSeek, million USD':34}{'published':>10}{'book a':>9}{'error':>8}{'book b':>9}{'error':>8}")
    for row in result["costs"]:
        shown = "".join(f"{row[book] / 1e6:9.1f}{100 * row[book + '_error']:+7.2f}%" for book in ("deepseek-a", "deepseek-b"))
        print(f"{row['topology']:34}{row['published'] / 1e6:10.0f}{shown}")
    worst = max((abs(row["deepseek-a_error"]) for row in result["costs"]), default=1.0)
    print(f"largest error under book a  {100 * worst:.2f} %   bar {100 * BAR_COST} %: {stopwatch.verdict(worst, BAR_COST)}")
    for row in result["savings"]:
        print(f"rail-only, {row['ports']} ports: saves {row['percent']:.1f} %   published {row['published']} %")
    off = max((abs(row["percent"] - row["published"]) for row in result["savings"] if row["published"]), default=99.0)
    verdict = stopwatch.verdict(off, BAR_SAVING_POINTS)
    print(f"farthest from the published savings  {off:.2f} points   bar {BAR_SAVING_POINTS}: {verdict}")
    print(stopwatch.machine_line())


def costs(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every record of the table with a cost in dollars, under both books that explain the table."""
    found = []
    for record in records:
        published = (record["cost"] or {}).get("M_USD")
        if not published or not record["source"].startswith("DeepSeek"):
            continue
        row: dict[str, Any] = {"topology": record["topology"], "published": published * 1e6}
        for name in ("deepseek-a", "deepseek-b"):
            quote = price(counted(record), books.load(name))
            if quote.unpriced:
                raise BadInput("A record needs what the book has no price for.", found=f"{record['topology']}: {quote.unpriced}")
            row[name] = quote.total_micro / MICRO_PER_UNIT
            row[f"{name}_error"] = row[name] / row["published"] - 1
        found.append(row)
    return found


def counted(record: dict[str, Any]) -> Quantities:
    """Switches, links between switches and one access link an endpoint: the conventions of DeepSeek's table."""
    speed = record["parameters"]["port_Gbps"] * GB / BITS_PER_BYTE
    return Quantities(
        switches=(Lot(n=record["switches"], ports=record["parameters"]["switch_ports"], bytes_per_s=speed),),
        access_links=(Lot(n=record["endpoints"], bytes_per_s=speed),),
        inter_switch_links=(Lot(n=record["links"], bytes_per_s=speed),),
    )


def savings(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rail-only against the rail-optimised tree with the same switch: ports and transceivers as the records count them."""
    book = books.load("rail-only-ratio")
    table = [one for one in records if "Rail-only" in one["source"] and (one["other"] or {}).get("transceivers")]
    trees = {one["parameters"]["switch_ports"]: one for one in table if "Clos" in one["topology"]}
    found = []
    for one in table:
        ports = one["parameters"]["switch_ports"]
        if one["topology"] == "rail-only" and ports in trees:
            now, before = (price(boxes(record), book).total_micro for record in (one, trees[ports]))
            published = next((value for name, value in (one["cost"] or {}).items() if name.startswith("saving")), None)
            found.append({"ports": ports, "percent": 100 * (1 - now / before), "published": published})
    return found


def boxes(record: dict[str, Any]) -> Quantities:
    """Two transceivers a link: the record counts transceivers, so half of them are links."""
    return Quantities(
        switches=(Lot(n=record["switches"], ports=record["parameters"]["switch_ports"]),),
        inter_switch_links=(Lot(n=record["other"]["transceivers"] // 2),),
    )


if __name__ == "__main__":
    main()
