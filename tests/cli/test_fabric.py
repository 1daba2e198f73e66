"""`forebay fabric` as an operator or a program meets it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("numba")

from typer.testing import CliRunner

from forebay.cli import fabric as module
from forebay.cli.fabric import app
from forebay.errors import BadInput, Unavailable, Unknown

QUOTES = Path(__file__).parents[2] / "examples" / "fabric-quotes"
SMALL = ("rail-optimised", "--hosts", "16", "--switch-ports", "32")


def fabric(*args):
    done = CliRunner().invoke(app, [str(word) for word in args], prog_name="forebay fabric", env={"COLUMNS": "150"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def data(*args):
    return json.loads(fabric(*args, "--json"))


def refused(*args, kind=BadInput):
    with pytest.raises(kind) as caught:
        fabric(*args)
    return str(caught.value)


def test_a_design_is_filled_in_written_and_read_back(tmp_path):
    ours = tmp_path / "ours.toml"
    fabric("build", *SMALL, "-o", ours)
    assert data("show", ours)["counts"] == data("show", *SMALL)["counts"]
    assert data("build", ours) == data("build", *SMALL)
    assert data("show", ours, "--hosts", "8")["counts"]["cards"] == 64


def test_every_cable_is_written_and_read_back(tmp_path):
    cables = tmp_path / "cables.json.gz"
    fabric("build", *SMALL, "--wiring", "-o", cables)
    assert data("show", cables)["counts"]["switch_cables"] == data("show", *SMALL)["counts"]["switch_cables"]
    assert "options are for families" in refused("show", cables, "--hosts", "3")


def test_counts_are_told_apart_and_the_bisection_says_what_it_is():
    told = fabric("show", "rail-optimised", "--hosts", "128")
    assert "48 (32 leaves, 16 spines)" in told and "access cables" in told and "exact" in told
    assert "Next: forebay fabric price rail-optimised --hosts 128" in told


def test_what_has_no_price_is_told_and_several_are_ranked_under_each_book():
    assert "unpriced" in fabric("price", *SMALL, "--book", QUOTES / "north.toml")
    told = data("price", "rail-only", "hpn", "--hosts", "128", "--book", QUOTES / "north.toml", "--book", QUOTES / "south.toml")
    assert len(told["quotes"]) == 4 and len(told["ranking"]["rankings"]) == 2
    assert "same under every book" in fabric("price", "rail-only", "hpn", "--hosts", "128", "--book", QUOTES / "north.toml",
                                             "--book", QUOTES / "south.toml")  # fmt: skip


def test_a_step_is_its_computing_and_what_is_exposed():
    took = data("simulate", *SMALL, "--model", "dense-8b")
    assert took["seconds"] == pytest.approx(took["compute_s"] + took["exposed_s"])
    assert took["ranks"] == 128 and took["busiest"]


def test_a_ring_over_one_rail_of_an_ideal_fabric_has_the_busbw_of_its_link():
    told = data("simulate", *SMALL, "--collective", "ring_all_reduce", "--cards-per-host", "1", "--nics-per-host", "1",
                "--scale-up", "none", "--physics", "ideal", "--size", "1GiB")  # fmt: skip
    assert told["busbw_bytes_per_s"] == pytest.approx(50e9, rel=1e-3)


def test_ranks_that_no_whole_replica_uses_are_told():
    assert "128 of 160 cards are used" in fabric("simulate", "rail-only", "--hosts", "20", "--model", _traffic(128))


def test_a_fault_is_timed_and_one_of_each_kind_is_tried():
    told = data("break", *SMALL, "--fault", "port:0@50%", "--model", "dense-8b")["broken"][0]
    assert told["cut_hosts"] == [] and told["synchronous"]["slower"] >= told["balanced"]["slower"] >= 1
    tried = [row["faults"][0] for row in data("break", *SMALL, "--all-kinds", "--model", "dense-8b")["broken"]]
    assert tried == ["port 0 down", "nic 0 down", "link 0 down", "leaf 0 down", "spine 0 down"]


def test_a_partition_is_an_answer():
    told = data("break", *SMALL, "--fault", "host:3", "--model", "dense-8b")["broken"][0]
    assert told["cut_hosts"] == [3] and told["synchronous"]["stops"] and told["synchronous"]["after_s"] is None
    assert "host 3" in fabric("break", *SMALL, "--fault", "host:3")


def test_the_choice_names_the_winner_and_why_the_others_lost(tmp_path):
    ask = ("choose", "--cards", "128", "--model", "dense-8b", "--book", QUOTES / "north.toml", "--kind", "rail-only",
           "--kind", "clos-2", "--kind", "torus")  # fmt: skip
    told = data(*ask)
    assert {f["kind"]: bool(f["why"]) for f in told["families"]} == {"rail-only": True, "clos-2": True, "torus": True}
    assert told["winner"]["cost_micro"] == min(one["cost_micro"] for one in told["timed"])
    assert told["searched"] == len(told["timed"]) + told["beaten"] + len(told["unpriced"])
    text = fabric(*ask, "-o", tmp_path / "winner.toml", "--svg", tmp_path / "c.svg")
    assert "the winner" in text and "Verified" in text and (tmp_path / "c.svg").read_text().startswith("<svg")
    assert data("show", tmp_path / "winner.toml")["counts"]["cards"] == 128


def test_several_quotes_are_compared():
    told = fabric("choose", "--cards", "128", "--model", "dense-8b", "--kind", "rail-only", "--kind", "clos-2",
                  "--book", QUOTES / "north.toml", "--book", QUOTES / "east.toml")  # fmt: skip
    assert "USD" in told and "CNY" in told and "winner" in told


def test_pictures_are_drawn(tmp_path):
    fabric("draw", *SMALL, "-o", tmp_path / "a.svg")
    fabric("draw", *SMALL, "--load", "--model", "dense-8b", "-o", tmp_path / "b.svg")
    assert all((tmp_path / name).read_text().startswith("<svg") for name in ("a.svg", "b.svg"))


def test_a_healthy_curve_is_fitted_and_a_sick_one_is_only_diagnosed(tmp_path):
    def curve(share):
        sizes = [2**k for k in range(24, 35)]
        record = {"system": "s", "kind": "measured", "collective": "all_reduce", "n_gpus": 16, "gpu": "H100", "source": "made up",
                  "network": "2 nodes, 8x400G"}  # fmt: skip
        return [{**record, "message_bytes": n, "busbw_GBps": share * n / (n / 430 + 0.1e6)} for n in sizes]

    well, ill, ours = tmp_path / "well.json", tmp_path / "ill.json", tmp_path / "ours.json"
    well.write_text(json.dumps(curve(1.0)))
    ill.write_text(json.dumps({"collectives": curve(0.2)}))
    fitted = data("calibrate", well, "--date", "2026-11-30", "-o", ours)
    assert fitted["median_error"] < 0.02
    assert data("simulate", *SMALL, "--model", "dense-8b", "--physics", ours)["seconds"] > 0
    sick = data("calibrate", ill, "--system", "s")
    assert sick["calibration"] is None and sick["diagnosis"]["verdict"] == "sick"


@pytest.mark.parametrize(
    "words, said",
    [
        (("show", "rail-optimized", "--hosts", "16"), "rail-optimised"),
        (("show", "rail-optimised"), "--hosts 128"),
        (("show", "rail-optimised", "--hosts", "16", "--port", "400"), "without its unit"),
        (("show", "rail-optimised", "--hosts", "16", "--port", "-400 Gbit/s"), "above zero"),
        (("show", "slim-fly", "--hosts", "16", "--shape", "6"), "prime power"),
        (("show", "torus", "--hosts", "16", "--shape", "4by4"), "16x8x8"),
        (("choose", "--cards", "1001", "--model", "dense-8b"), "whole hosts"),
        (("choose", "--cards", "64", "--model", "dense-405b"), "more cards"),
        (("choose", "--cards", "64", "--model", "dense-8b", "--within", "5"), "5%"),
        (("choose", "--cards", "64", "--model", "dense-8b", "--box", "64"), "64x400"),
        (("simulate", *SMALL), "--collective"),
        (("simulate", *SMALL, "--collective", "all_reduce", "--ranks", "4000"), "128 cards"),
        (("simulate", *SMALL, "--model", "dense-8c"), "dense-8b"),
        (("break", *SMALL, "--fault", "leaf:900"), "leaf:0 to"),
        (("break", *SMALL), "--all-kinds"),
    ],
    ids=lambda words: " ".join(words[:3]) if isinstance(words, tuple) else "",
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(words, said):
    assert said in refused(*words)


def _traffic(ranks, **more):
    path = Path(tempfile.mkdtemp()) / "traffic.json"
    exchange = {"name": "gradients", "collective": "all_reduce", "nbytes": 1e9, **(more or {"along": ["data"]})}
    path.write_text(
        json.dumps({"name": "ours", "grid": {"data": ranks}, "compute_s": 1.0, "exchanges": [exchange], "windows": {}})
    )
    return path


def test_a_file_of_traffic_is_checked():
    assert "share no rank" in refused("simulate", *SMALL, "--model", _traffic(8, groups=[[0, 1], [1, 2]]))
    assert "isn't there" in refused("simulate", *SMALL, "--model", _traffic(8, groups=[[0, 99]]))
    assert "more ranks" in refused("simulate", *SMALL, "--model", _traffic(1000))


def test_a_file_that_is_not_there_or_not_joined_is_said(tmp_path):
    refused("show", "nowhere/fabric.toml", kind=Unknown)
    apart = tmp_path / "apart.toml"
    apart.write_text("""
[[hosts]]
name = "a[1-2]"
[[switches]]
name = "s[1-2]"
[[links]]
from = "a1"
to = "s1"
speed = "400 Gbit/s"
[[links]]
from = "a2"
to = "s2"
speed = "400 Gbit/s"
""")
    assert refused("show", apart)


def test_without_numba_one_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "MISSING", ["numba"])
    assert "pip install 'forebay[fabric]'" in refused("show", *SMALL, kind=Unavailable)


def test_the_help_of_all_verbs_imports_no_numba():
    asked = "import sys; sys.argv = ['forebay', '--help']\ntry:\n import forebay.cli.main as m; m.main()\nexcept SystemExit: pass"
    done = subprocess.run([sys.executable, "-c", asked + "\nassert 'numba' not in sys.modules and 'numpy' not in sys.modules"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert "fabric" in done.stdout


def test_a_refusal_ends_with_its_exit_code_and_as_json_where_asked():
    words = [sys.executable, "-m", "forebay.cli", "fabric", "show", "torus", "--hosts", "8", "--port", "400", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and json.loads(done.stderr)["error"]["kind"] == "BadInput"


def test_a_menu_of_the_planner_is_sent_over_a_fabric(tmp_path):
    from forebay.codec import encode
    from forebay.plan.model import Workload
    from forebay.plan.plan import Choice, Menu, Plan
    from forebay.plan.presets import describe

    plans = [Plan(replicas=1, shards=64 // tensor, tensor=tensor, stages=("h100-sxm",)) for tensor in (4, 8)]
    work = Workload(model=describe("llama-3-8b").model, sequences=256, tokens=8192)
    menu = Menu(choices=tuple(Choice(plan=one, seconds_a_step=1.0, memory_bytes=1) for one in plans), workload=work)
    file = tmp_path / "menu.json"
    file.write_text(json.dumps(encode(menu)))
    first, second = (data("simulate", *SMALL, "--model", name) for name in (file, f"{file}:2"))
    gathers = [{one["name"]: one["ranks"] for one in told["took"]}["tensor gather"] for told in (first, second)]
    assert gathers == [4, 8]
    assert 0 < first["compute_s"] < first["seconds"]
    assert "no choice of that number" in refused("simulate", *SMALL, "--model", f"{file}:3")
    file.write_text(json.dumps(encode(plans[0])))
    assert "with its workload" in refused("simulate", *SMALL, "--model", file)
