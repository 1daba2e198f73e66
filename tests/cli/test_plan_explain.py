"""`forebay plan explain`, as a person uses it."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from forebay.cli.plan import app
from forebay.codec import encode
from forebay.plan.model import Workload
from forebay.plan.plan import Choice, Menu, Plan
from forebay.plan.presets import describe


def test_a_menus_plan_is_explained_degree_by_degree(tmp_path):
    plan = Plan(replicas=1, shards=2, tensor=4, stages=("h100-sxm",), micro_batch=1)
    work = Workload(model=describe("llama-3-8b").model, sequences=64, tokens=8192)
    menu = Menu(choices=(Choice(plan=plan, seconds_a_step=1.0, memory_bytes=1),), workload=work)
    file = tmp_path / "menu.json"
    file.write_text(json.dumps(encode(menu)))
    done = CliRunner().invoke(app, ["explain", str(file), "--on", "h100-sxm:8", "--json"])
    assert done.exit_code == 0, done.output
    assert {one["degree"] for one in json.loads(done.output)} >= {"tensor", "stages", "micro_batch", "recompute"}
    one = CliRunner().invoke(app, ["explain", str(file), "--on", "h100-sxm:8", "--why", "tensor=8"])
    assert one.exit_code == 0 and "tensor 8 instead of 4: " in one.output
