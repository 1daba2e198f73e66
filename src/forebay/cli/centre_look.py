"""Look at what a centre is going to be, and ask the person at the terminal what its resources' names don't say."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from forebay.centre.settings import Settings
from forebay.chips import catalogue
from forebay.chips.node import Node
from forebay.cli import out
from forebay.errors import BadInput, ForebayError, Unknown

Question = tuple[str, Sequence[str]]
"""What to ask, and the chips that it may be, best first."""


def looked_at(told: Settings, folder: Path) -> tuple[Settings, tuple[Node, ...]]:
    """What is here, and the settings with the answers of a person in them. Touches nothing."""
    match told.engine:
        case "slurm":
            told, nodes = _slurm(told, folder)
        case "ray":
            told, nodes = _ray(told)
        case _:
            from forebay.chips import detect

            nodes = tuple(replace(node, pretend=told.pretend) for node in detect.detect().nodes)
    if not nodes:
        option = {"slurm": "--gres GRES=CHIP", "ray": "--resource RESOURCE=CHIP"}.get(told.engine, "forebay doctor")
        raise Unknown("There is no card here that Forebay could use.", asked=told.engine, hint=f"{option}; forebay chips")
    return told, nodes


def _slurm(told: Settings, folder: Path) -> tuple[Settings, tuple[Node, ...]]:
    from forebay.centre.slurm.look import look

    found = look(told, folder)
    if not found.unsure:
        return told, found.nodes
    answers = _answers({one.gres: (one.question, one.candidates) for one in found.unsure}, "--gres")
    told = replace(told, slurm=replace(told.slurm, gres={**told.slurm.gres, **answers}))
    return told, look(told, folder).nodes


def _ray(told: Settings) -> tuple[Settings, tuple[Node, ...]]:
    from forebay.centre.ray.look import look

    if not told.ray.address:
        raise BadInput("Which Ray cluster?", asked="--engine ray", hint="--address HEAD:6379, as `ray status` names it")
    with out.errors.status("asking the Ray cluster what it has"):
        found = look(told)
    if not found.unsure:
        return replace(told, ray=replace(told.ray, chips=found.chips)), found.nodes
    answers = _answers({one.resource: (one.question, one.candidates) for one in found.unsure}, "--resource")
    told = replace(told, ray=replace(told.ray, chips={**found.chips, **answers}))
    return told, look(told).nodes


def _answers(unsure: Mapping[str, Question], option: str) -> dict[str, str]:
    """Which chip each resource is; empty: not for Forebay."""
    if not sys.stdin.isatty():
        raise _nobody_to_ask({name: candidates for name, (_, candidates) in unsure.items()}, option)
    return {name: _ask(question, candidates) for name, (question, candidates) in unsure.items()}


def _nobody_to_ask(unsure: Mapping[str, Sequence[str]], option: str) -> BadInput:
    named = {name: [candidate for candidate in candidates if candidate] for name, candidates in unsure.items()}
    return BadInput(
        "I don't know which chips these are, and nobody is at the terminal to ask.",
        asked=", ".join(named),
        found="; ".join(f"{name} may be {' or '.join(known) or 'none of the catalogue'}" for name, known in named.items()),
        hint=" ".join(f"{option} {name}={known[0] if known else 'CHIP'}" for name, known in named.items())
        + f"; {option} NAME= leaves one alone",
    )


def _ask(question: str, candidates: Iterable[str]) -> str:
    named = [candidate for candidate in candidates if candidate]
    while True:
        answer = str(typer.prompt(question, default=named[0] if named else "", show_default=bool(named))).strip()
        try:
            return catalogue.find(answer).name if answer else ""
        except ForebayError as error:
            out.errors.print(str(error), markup=False)
