"""`forebay pool`: centres, nodes and cards."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli import out, reach

app = typer.Typer(add_completion=False)
AWAY_S = 60.0  # an agent's request for news hangs at most 20 s


@app.command()
def pool(as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False) -> None:
    """Show centres, nodes and cards: free, busy, pretend."""
    with reach.client() as cloud:
        whole = cloud.pool()
    if as_json:
        out.as_json(whole)
        return
    rows = []
    for centre in whole["centres"]:
        heard = centre["heard_s_ago"]
        link = "never heard" if heard is None else "away" if heard > AWAY_S else "here"
        for node in centre["nodes"]:
            busy = [card for card in node["cards"] if card["held_by"]]
            holders = ", ".join(sorted({card["held_by"] for card in busy}))
            chip = node["chip"] + (" (pretend)" if node["pretend"] else "")
            rows.append([centre["name"], link, node["name"], chip, len(node["cards"]), len(node["cards"]) - len(busy), holders])
    out.table(["centre", "agent", "node", "chip", "cards", "free", "held by"], rows, right=["cards", "free"])
    out.console.print(f"{whole['waiting']} job{'s' if whole['waiting'] != 1 else ''} waiting")
