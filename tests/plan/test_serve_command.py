"""`forebay plan serve`, as a person uses it."""

import json

import pytest
import typer
from typer.testing import CliRunner

from forebay.cli import out
from forebay.cli.plan_serve import serve
from forebay.errors import BadInput, DoesNotFit, ForebayError

app = typer.Typer()
app.command()(serve)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(out.console, "_width", 160)


def run(*words):
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, ForebayError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_table_says_what_to_run_and_how_sure_it_is():
    told = run("llama-3-70b", "--on", "h100-sxm:16", "--format", "fp8", "--ttft", "1s", "--tpot", "30ms")
    assert "These keep the target." in told
    assert "80 %: first token" in told and "From: kernel tables." in told


def test_json_is_the_menu():
    told = json.loads(
        run("deepseek-v3", "--on", "h200:32", "--format", "fp8_block", "--tpot", "40ms", "--disaggregated", "--json")
    )
    assert told["met"] is True
    assert 1 <= len(told["choices"]) <= 5
    assert all(choice["token_s"] <= 0.04 and choice["prefill"]["workers"] >= 1 for choice in told["choices"])


def test_two_kinds_get_a_plan_that_says_what_each_does():
    told = run("llama-3-70b", "--on", "h100-sxm:16,h20:16", "--format", "fp8", "--ttft", "2s", "--tpot", "30ms")
    assert "Prompts read on one kind for another carry most" in told
    assert "h100-sxm: prompts" in told and "h20: tokens" in told and "makes tokens for prompts of h100-sxm" in told
    assert "Requests a second of a kind alone: h100-sxm" in told


def test_two_kinds_in_json_are_their_menu_with_money(tmp_path):
    file = tmp_path / "pool.toml"
    row = '[[cards]]\nchip = "{}"\ncount = 8\nprice_per_hour = "{}"\n'
    file.write_text('currency = "EUR"\n' + row.format("h100-sxm", "2.50") + row.format("a100-sxm-80gb", "1.10"))
    told = json.loads(run("llama-3-8b", "--on", str(file), "--ttft", "1s", "--requests", "10", "--json"))
    best = told["choices"][0]
    assert told["met"] is True and best["requests_per_s"] >= 10
    assert best["currency"] == "EUR" and best["cost_per_million"] == sum(best["cost_by_kind"].values())
    assert "10^6 tokens cost" in run("llama-3-8b", "--on", str(file), "--only", "a100-sxm-80gb=both")


def test_a_kind_without_the_format_is_left_out_in_words():
    told = run("llama-3-8b", "--on", "h100-sxm:8,a100-sxm-80gb:8", "--format", "fp8")
    assert "a100-sxm-80gb is left out: The chip doesn't multiply in that number format" in told


def test_as_few_cards_as_carry_the_requests_are_taken():
    told = json.loads(run("llama-3-8b", "--on", "h100-sxm:8", "--requests", "5", "--ttft", "1s", "--json"))
    assert told["met"] is True
    assert told["choices"][0]["cards"] < 8
    assert told["choices"][0]["requests_per_s"] >= 5


def test_the_nearest_is_shown_where_none_keeps_the_target():
    assert "No plan keeps the target; the nearest: a token each" in run("llama-3-8b", "--on", "h100-sxm:8", "--tpot", "1ms")


@pytest.mark.parametrize(
    "words, said",
    [
        (("llama-3-8b", "--on", "h100-sxm:8", "--format", "fp9"), "no such format"),
        (("llama-3-8b", "--on", "h100-sxm:8", "--engine", "tgi"), "engine isn't known"),
        (("llama-3-8b", "--on", "h100-sxm:8", "--input", "0"), "at least one token"),
        (("llama-3-8b", "--on", "h100-sxm:8", "--tpot", "0ms"), "more than nothing"),
        (("llama-3-8b", "--on", "h100-sxm:8", "--requests", "0"), "more than no requests"),
        (("llama-3-8b", "--on", "h100-sxm:8,h20:8", "--only", "h20"), "nothing about a kind"),
        (("llama-3-8b", "--on", "h100-sxm:8,h20:8", "--only", "h20=tokens", "--only", "h20=both"), "one thing only"),
        (("llama-3-8b", "--on", "h100-sxm:8", "--only", "h100-sxm=prompts"), "nobody is left for tokens"),
        (("llama-3-8b", "--on", "a100-sxm-80gb:8", "--format", "fp8"), "number format"),
    ],
)
def test_bad_input_is_one_clear_error(words, said):
    with pytest.raises(BadInput, match=said):
        run(*words)


def test_a_model_that_is_too_large_says_what_it_needs():
    with pytest.raises(DoesNotFit, match="doesn't fit"):
        run("deepseek-v3", "--on", "h100-sxm:8")
