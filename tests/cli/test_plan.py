"""`forebay plan` as a tenant, an expert or a program meets it."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from forebay.cli import out
from forebay.cli.plan import app
from forebay.cli.plan_files import opened
from forebay.cli.plan_whatif import scaled, times
from forebay.codec import decode, encode
from forebay.errors import BadInput, Conflict, Unknown
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Choice, Dropped, Help, Memory, Menu, Plan
from forebay.plan.pool import Cards, Pool
from forebay.plan.pool_read import pool
from forebay.plan.wishes import Wishes

MODEL = Model(name="llama-3-70b", layers=80, width=8192, heads=64, kv_heads=8, mlp_width=28672, vocabulary=128256)
WORK = Workload(model=MODEL, sequences=1024, tokens=8192)
PLAN = Plan(replicas=1, shards=8, tensor=4, stages=("h100-sxm",) * 2)
HELD = Memory(
    weights=17 * 10**9, gradients=16 * 10**9, optimizer=12 * 10**9, activations=20 * 10**9, buffers=10**9, reserve=10**9
)
FIRST = Choice(
    plan=PLAN, seconds_a_step=86.3, low_s=80.1, high_s=93.4, memory_bytes=67 * 10**9, tokens_per_s=97_200.0, mfu=0.43,
    parts={"products": 70.0, "bubble": 16.3}, memory=(HELD, HELD), cost_a_step=2_900_000, cost_a_trillion_tokens=345_000_000_000,
    currency="USD", joules_a_step=3.9e6, tier="kernel tables",
)  # fmt: skip
SECOND = replace(FIRST, plan=replace(PLAN, tensor=8, shards=4), seconds_a_step=90.2, cost_a_step=None, joules_a_step=None)
MENU = Menu(
    choices=(FIRST, SECOND),
    workload=WORK,
    searched=812,
    dropped=(Dropped(plan=replace(PLAN, tensor=2, shards=16), why="needs 96 GB a card, an h100-sxm has 80"),),
    helps=(Help(change="twice the network", seconds_a_step=81.0),),
)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """The console takes its width when it is made, which may have been in a narrow terminal."""
    monkeypatch.setattr(out.console, "_width", 160)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "menu.json").write_text(json.dumps(encode(MENU)))
    return "menu.json"


def plan(*args, status=0):
    done = CliRunner().invoke(app, [str(word) for word in args], prog_name="forebay plan", env={"COLUMNS": "160"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.stdout


def refused(*args, kind=BadInput):
    with pytest.raises(kind) as caught:
        plan(*args)
    return str(caught.value)


def test_a_menu_is_shown_with_its_interval_its_memory_and_what_was_dropped(file):
    told = plan("show", file)
    for words in ("86.3 s (80.1 to 93.4)", "43.0%", "2.9 USD", "345,000 USD", "3.9 MJ", "kernel tables", "81.1%", "needs 96 GB",
                  "twice the network", "-6.1%", "attention counted in full"):  # fmt: skip
        assert words in told


def test_a_menu_survives_the_trip_through_json(file):
    assert decode(Menu, json.loads(plan("show", file, "--json"))) == MENU


def test_a_choice_and_a_bare_plan_are_shown_too(file, tmp_path):
    (tmp_path / "choice.json").write_text(json.dumps(encode(SECOND)))
    (tmp_path / "plan.json").write_text(json.dumps(encode(PLAN)))
    assert "90.2 s" in plan("show", "choice.json") and "8, with sequence parallel" in plan("show", "menu.json:2")
    assert "64 h100-sxm" in plan("show", "plan.json")


def test_a_choice_that_there_is_not_is_told_with_those_that_there_are(file):
    assert "1 to 2" in refused("show", file, "--choice", 3) and "1 to 2" in refused("show", "menu.json:7")


@pytest.mark.parametrize(
    "text, word", [("", "no JSON"), ("[]", "list"), ('{"choices": [{}]}', "plan: missing"), ("{", "no JSON")]
)
def test_a_file_that_is_no_menu_says_what_is_wrong_in_it(tmp_path, text, word):
    path = tmp_path / "odd.json"
    path.write_text(text)
    assert word in refused("show", path)
    assert "no such file" in refused("show", tmp_path / "none.json")


def test_a_pipeline_is_drawn_and_of_one_stage_its_memory(file, tmp_path):
    plan("show", file, "--picture", "timeline.svg")
    svg = (tmp_path / "timeline.svg").read_text()
    assert svg.startswith("<svg") and "micro-batch 127" in svg and "stage 1" in svg
    one = replace(FIRST, plan=replace(PLAN, stages=("h100-sxm",)), memory=(HELD,))
    (tmp_path / "one.json").write_text(json.dumps(encode(replace(MENU, choices=(one,)))))
    plan("show", "one.json", "--picture", "memory.svg")
    assert "weights" in (tmp_path / "memory.svg").read_text()
    (tmp_path / "plan.json").write_text(json.dumps(encode(PLAN)))
    assert "nothing to draw" in refused("show", "plan.json", "--picture", "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_plans_are_compared_and_what_differs_is_marked(file):
    rows = [line.split() for line in plan("compare", file).splitlines()]
    marked = {row[1] for row in rows if row[:1] == ["*"]}
    assert marked == {"tensor", "data", "a", "cost", "energy"}
    assert plan("compare", "menu.json:1", "menu.json:2").count("*") == plan("compare", file).count("*")
    assert "Two plans" in refused("compare", "menu.json:1")


def test_an_export_is_written_and_never_over_another(file, tmp_path):
    told = plan("export", file, "--to", "megatron")
    assert "--tensor-model-parallel-size 4" in (tmp_path / "megatron.args").read_text()
    assert "xargs torchrun --nnodes=8 --nproc-per-node=8" in told and "Left to you" in told
    (tmp_path / "megatron.args").write_text("mine")
    assert "--force" in refused("export", file, "--to", "megatron", kind=Conflict)
    assert (tmp_path / "megatron.args").read_text() == "mine"
    plan("export", file, "--to", "megatron", "--force", "--choice", 2)
    assert "--tensor-model-parallel-size 8" in (tmp_path / "megatron.args").read_text()


@pytest.mark.parametrize("target", ["megatron", "flagscale", "torchrun"])
def test_each_export_is_written_into_the_folder_that_was_said(file, tmp_path, target):
    told = json.loads(plan("export", file, "--to", target, "--folder", "ours", "--json"))
    assert all((tmp_path / name).is_file() and name.startswith("ours/") for name in told["written"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["menu.json", "ours"]


def test_nothing_is_written_of_an_export_that_is_refused(file, tmp_path):
    assert "zero=2" in refused("export", file, "--to", "torchtitan", "--folder", "ours")
    assert "whole hosts" in refused("export", file, "--to", "megatron", "--cards-per-host", "7", "--folder", "ours")
    assert "megatron" in refused("export", file, "--to", "megatrom", "--folder", "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["menu.json"]


def test_hosts_are_of_all_chips_or_of_one(file):
    told = json.loads(
        plan("export", file, "--to", "torchrun", "--cards-per-host", "h100-sxm=4", "--cards-per-host", "16", "--json")
    )
    assert "--nnodes=16 --nproc-per-node=4" in told["lines"][0]
    assert "h100-sxm" in refused("export", file, "--to", "torchrun", "--cards-per-host", "mi300x=4")
    assert "h100" in refused("export", file, "--to", "torchrun", "--cards-per-host", "h100=4", kind=Unknown)
    assert "gb200=4" in refused("export", file, "--to", "torchrun", "--cards-per-host", "many")


def test_a_bare_plan_has_no_workload_to_export(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps(encode(PLAN)))
    assert "workload" in refused("export", tmp_path / "plan.json", "--to", "megatron")


def test_what_torchrun_was_given_is_a_plan_again(file, tmp_path):
    plan("export", file, "--to", "torchrun")
    assert decode(Plan, json.loads(plan("show", "plan.json", "--json"))) == PLAN
    plan("export", "plan.json", "--to", "megatron")


@pytest.mark.parametrize(
    "words, said",
    [
        ("--most tensor=4 --least tensor=8", "tensor at least 8 and tensor at most 4"),
        ("--most tensor=4 --exactly tensor=8", "tensor exactly 8 and tensor at most 4"),
        ("--least tensor=8 --exactly tensor=4", "tensor at least 8 and tensor exactly 4"),
        ("--most tensors=4", "tensor"),
        ("--most tensor", "--most tensor=8"),
        ("--most tensor=0", "at least 1"),
        ("--most tensor=4 --most tensor=8", "said once"),
        ("--for speed", "time, cost, energy, cards"),
        ("--for cards", "within"),
        ("--within soon", "2h30m"),
        ("--schedule zb", "zb-v"),
        ("--recompute half", "selective"),
        ("--spare 5", "5%"),
    ],
)
def test_wishes_that_make_no_sense_are_told_before_anything_is_searched(words, said):
    assert said in refused("llama-3-8b", "--on", "h100-sxm:8", "--batch", 8, *shlex.split(words))


def test_a_pool_is_asked_again_with_more_of_it():
    cards = Cards(chip="h100-sxm", count=64, island=8, up_bytes_per_s=450e9, out_bytes_per_s=50e9, price_per_hour=2_000_000)
    pool = Pool(cards=(cards,), between_bytes_per_s=10e9)
    [more] = scaled(pool, network=2, memory=1.5, cards=0.125, price=0.5).cards
    assert (more.count, more.up_bytes_per_s, more.out_bytes_per_s, more.price_per_hour) == (8, 900e9, 100e9, 1_000_000)
    assert more.memory_bytes == 120 * 10**9 and scaled(pool, network=2, memory=1, cards=1, price=1).between_bytes_per_s == 20e9
    assert scaled(pool, network=1, memory=1, cards=1, price=1) == pool
    with pytest.raises(BadInput, match="whole"):
        scaled(pool, network=1, memory=1, cards=0.3, price=1)
    assert times("1.5x") == 1.5 and times("") == 1.0
    with pytest.raises(BadInput, match="with an x"):
        times("2")


def test_the_list_of_commands_has_a_line_each_and_no_search_is_loaded_for_it():
    code = (
        "import sys; from forebay.cli import plan; print(sorted(m for m in sys.modules if m.split('.')[0] in ('numpy', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    told = plan("--help")
    assert all(word in told for word in ("choose", "show", "compare", "whatif", "export"))


# The whole way, from a model's name to arguments: a real search.

SMALL = ("llama-3-8b", "--on", "h100-sxm:8", "--batch", "64")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    told = plan(*SMALL, "--write", folder / "menu.json", "--picture", folder / "best.svg")
    return folder, told


def test_a_model_by_name_gets_a_menu_that_every_other_command_reads(made):
    folder, told = made
    best = decode(Menu, json.loads((folder / "menu.json").read_text())).choices[0]
    assert best.plan.cards == 8 and best.low_s < best.seconds_a_step < best.high_s and best.memory_bytes <= 80 * 10**9
    assert "Assumed: h100-sxm: islands of 8" in told and "plans were priced" in told and "Not on the menu" in told
    assert (folder / "best.svg").read_text().startswith("<svg")
    assert "What a card of each stage holds" in plan("show", folder / "menu.json")
    assert "*" in plan("compare", folder / "menu.json")
    assert json.loads(plan("export", folder / "menu.json", "--to", "megatron", "--folder", folder / "ours", "--json"))["written"]


def test_a_menu_as_json_is_the_menu_that_is_written(made):
    assert json.loads(plan("choose", *SMALL, "--json")) == json.loads((made[0] / "menu.json").read_text())


def test_a_menu_holds_what_it_was_made_from(made):
    menu = decode(Menu, json.loads((made[0] / "menu.json").read_text()))
    assert menu.pool == pool("h100-sxm:8") and menu.wishes == Wishes()
    assert opened(f"{made[0] / 'menu.json'}:2").menu.pool == menu.pool


def test_a_menu_is_explained_and_asked_again_without_its_pool_being_said_again(made):
    menu = made[0] / "menu.json"
    assert plan("explain", menu, "--why", "micro-batch") == plan("explain", menu, "--why", "micro-batch", "--on", "h100-sxm:8")
    assert plan("whatif", menu, "--network", "2x") == plan("whatif", menu, "--on", "h100-sxm:8", "--network", "2x")
    other = json.loads(plan("whatif", menu, "--on", "h200:8", "--json"))
    assert other["then"]["choices"][0]["plan"]["stages"][0] == "h200"
    assert "hasn't the cards" in refused("explain", menu, "--on", "h200:8")


def test_wishes_and_framework_are_those_of_the_menu_unless_said_again(tmp_path):
    menu = tmp_path / "menu.json"
    plan(*SMALL, "--most", "tensor=1", "--framework", "torchtitan", "--write", menu)
    then = json.loads(plan("whatif", menu, "--memory", "2x", "--json"))["then"]
    assert {one["plan"]["tensor"] for one in then["choices"]} == {1} and then["wishes"]["framework"] == "torchtitan"
    assert "the wishes rule it out" in plan("explain", menu, "--why", "tensor=2")
    then = json.loads(plan("whatif", menu, "--framework", "megatron", "--json"))["then"]
    assert then["wishes"] == {**encode(Wishes()), "most": {"tensor": 1}}


def test_a_menu_of_an_older_forebay_is_read_and_asks_for_its_pool(file, tmp_path):
    told = encode(MENU)
    del told["pool"], told["wishes"]
    (tmp_path / "menu.json").write_text(json.dumps(told))
    assert plan("show", file) and plan("compare", file) and plan("export", file, "--to", "megatron", "--json")
    for words in (("explain", file), ("whatif", file, "--network", "2x")):
        assert "--on" in refused(*words) and "older Forebay" in refused(*words)
    assert plan("explain", file, "--on", "h100-sxm:64", "--why", "micro-batch")


def test_wishes_are_kept(made):
    wished = json.loads(plan("--exactly", "tensor=4", "--most", "stages=1", "--recompute", "full", *SMALL, "--json"))
    assert {(one["plan"]["tensor"], len(one["plan"]["stages"]), *one["plan"]["recompute"]) for one in wished["choices"]} == {
        (4, 1, "full")
    }


def test_a_menu_is_asked_again_on_another_network_and_another_batch(made):
    menu = made[0] / "menu.json"
    assert "A step is" in plan("whatif", menu, "--on", "h100-sxm:8", "--network", "2x")
    twice = plan("whatif", menu, "--on", "h100-sxm:8", "--batch", 128)
    assert "2 times the tokens" in twice and "now" in twice and "then" in twice
    assert "Something must differ" in refused("whatif", menu, "--on", "h100-sxm:8")


@pytest.mark.parametrize(
    "words, status, said",
    [
        ("llama-3-405b --on h100-sxm:8 --batch 8", 2, "DoesNotFit"),
        ("llama-3-8b --on h100-sxm:8 --batch 64 --format fp3", 2, "fp3"),
        ("lama-3-8b --on h100-sxm:8 --batch 64", 3, "llama-3-8b"),
        ("llama-3-8b --on h100:8 --batch 64", 3, "h100-sxm"),
        ("llama-3-8b --on h100-sxm:8 --batch 64 --framework megatrom", 3, "megatron"),
        ("llama-3-8b --on h100-sxm:8", 2, "--batch"),
    ],
)
def test_what_cannot_be_planned_is_one_error_with_its_exit_code_and_nothing_is_written(tmp_path, words, status, said):
    line = [sys.executable, "-m", "forebay.cli", "plan", *shlex.split(words), "--write", str(tmp_path / "menu.json")]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
