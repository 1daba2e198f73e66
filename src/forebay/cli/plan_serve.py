"""`forebay plan serve`: how a model is cut over cards to answer requests in time."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forebay.cli import out
from forebay.cli.figures import line
from forebay.codec import encode
from forebay.errors import BadInput, nearest
from forebay.plan.serving import ENGINES, FORMATS, ServingChoice, ServingMenu, ServingPlan, ServingTarget, formats
from forebay.units import parse_seconds, show_bytes


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A preset, a config.json or its folder.")],
    on: Annotated[str, typer.Option("--on", metavar="POOL", help='Cards: "h100-sxm:8", "h200:16,h20:32", or a TOML file.')],
    input_tokens: Annotated[int, typer.Option("--input", help="Tokens of a prompt.")] = 4096,
    output_tokens: Annotated[int, typer.Option("--output", help="Tokens of an answer.")] = 512,
    ttft: Annotated[str, typer.Option(help="Time to first token, at most: 1s.", show_default=False)] = "",
    tpot: Annotated[str, typer.Option(help="Time per token after the first, at most: 30ms.", show_default=False)] = "",
    requests: Annotated[
        float | None, typer.Option(help="Requests a second that the pool must carry.", show_default=False)
    ] = None,
    number_format: Annotated[str, typer.Option("--format", help="Of the weights: " + ", ".join(FORMATS) + ".")] = "bf16",
    cache: Annotated[str, typer.Option(help="Of keys and values: bf16 or fp8.", show_default=False)] = "",
    engine: Annotated[str, typer.Option(help="One of " + ", ".join(ENGINES) + "; any.", show_default=False)] = "",
    disaggregated: Annotated[bool, typer.Option("--disaggregated", help="Prompts are read by engines of their own.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="What a kind may do: h20=tokens, =prompts or =both.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Choose degrees and batch for answering requests within a time.

    forebay plan serve llama-3-70b --on h100-sxm:16 --input 4096 --output 512 --ttft 1s --tpot 30ms --format fp8

    forebay plan serve deepseek-v3 --on h200:32 --format fp8_block --tpot 40ms --disaggregated

    forebay plan serve deepseek-v3 --on h200:64,h20:64 --format fp8_block --ttft 3s --tpot 50ms --only h20=tokens
    """
    from forebay.cli import plan_serve_mix
    from forebay.plan import pool_read, presets
    from forebay.plan.serving import pool as serving_pool
    from forebay.plan.serving.offer import question
    from forebay.plan.serving.search import search

    if number_format not in FORMATS:
        raise BadInput(
            "There is no such format.", asked=number_format, hint=", ".join(nearest(number_format, list(FORMATS)) or FORMATS)
        )
    if engine and engine not in ENGINES:
        raise BadInput("That engine isn't known.", asked=engine, hint=", ".join(ENGINES))
    if cache not in ("", "bf16", "fp8"):
        raise BadInput("A cache is kept in bf16 or fp8.", asked=f"--cache {cache}")
    if input_tokens < 1 or output_tokens < 1:
        raise BadInput(
            "A request has at least one token in and one out.", asked=f"--input {input_tokens} --output {output_tokens}"
        )
    if requests is not None and requests <= 0:
        raise BadInput("A pool carries more than no requests.", asked=f"--requests {requests:g}")
    pool = pool_read.pool(on)
    shape = presets.model(model)
    target = ServingTarget(
        model=shape,
        formats=formats(number_format, shape, cache),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        first_s=_seconds(ttft, "--ttft"),
        token_s=_seconds(tpot, "--tpot"),
        requests_per_s=requests,
    )
    if len(pool.cards) > 1 or only:
        mixed = serving_pool.search(
            serving_pool.PoolQuestion(target=target, pool=pool, library=engine, apart=disaggregated, only=_only(only or []))
        )
        if as_json:
            out.as_json(encode(mixed))
            return
        plan_serve_mix.told(mixed)
        return
    menu = search(question(pool.cards[0], target, engine), disaggregated)
    if as_json:
        out.as_json(encode(menu))
        return
    _told(menu)


def _only(wishes: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    for wish in wishes:
        kind, sign, role = wish.rpartition("=")
        if not sign or not kind or not role:
            raise BadInput("That says nothing about a kind.", asked=f"--only {wish}", hint="--only h20=tokens")
        if told.setdefault(kind, role) != role:
            raise BadInput("A kind does one thing only, or has no wish.", asked=f"--only {kind}={told[kind]} --only {wish}")
    return told


def _seconds(text: str, option: str) -> float | None:
    if not text:
        return None
    found = parse_seconds(text)
    if found <= 0:
        raise BadInput("A time is more than nothing.", asked=f"{option} {text}")
    return found


def _told(menu: ServingMenu) -> None:
    target = menu.target
    line(asked(target))
    wishes = (target.first_s, target.token_s, target.requests_per_s)
    line(menu.why or "These keep the target." if wishes != (None, None, None) else "Best by tokens a second a card.")
    columns = (
        "engines",
        "tensor",
        "data",
        "stages",
        "experts",
        "at once",
        "first token",
        "per token",
        "requests/s",
        "tokens/s card",
        "memory",
        "cards",
    )
    rows = [row for choice in menu.choices for row in _rows(choice)]
    out.table(columns, rows, right=columns[1:])
    best = menu.choices[0]
    spent = sorted(best.parts.items(), key=lambda part: -part[1])
    shares = [f"{name} {seconds / best.token_s:.0%}" for name, seconds in spent if seconds > 0.005 * best.token_s]
    line("Where a token's time goes, in the first: " + ", ".join(shares))
    line(
        f"80 %: first token {ms(best.first_low_s)} to {ms(best.first_high_s)}, per token {ms(best.token_low_s)} to"
        f" {ms(best.token_high_s)}. From: {best.tier}. {menu.searched:,} plans priced."
    )


def asked(target: ServingTarget) -> str:
    f = target.formats
    routed = f", experts {f.experts}" if target.model.experts is not None else ""
    formats_ = f"weights {f.dense}{routed}, cache {f.cache}"
    return f"{target.model.name}, {target.input_tokens:,} tokens in and {target.output_tokens:,} out, {formats_}"


def _rows(choice: ServingChoice) -> list[tuple[Any, ...]]:
    figures = (ms(choice.first_s), ms(choice.token_s), f"{choice.requests_per_s:.2f}", f"{choice.tokens_per_s_card:,.0f}",
               show_bytes(choice.memory_bytes), str(choice.cards))  # fmt: skip
    if choice.prefill is None:
        return [(*engines(choice.decode, ""), *figures)]
    return [(*engines(choice.decode, " for tokens"), *figures), (*engines(choice.prefill, " for prompts"), *("",) * len(figures))]


def engines(plan: ServingPlan, does: str) -> tuple[str, ...]:
    split = f"{plan.expert} x {plan.expert_tensor}" if plan.expert * plan.expert_tensor > 1 else "-"
    return (f"{plan.workers}{does}", str(plan.tensor), str(plan.data), str(plan.stages), split, str(plan.batch))


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.1f} ms"
