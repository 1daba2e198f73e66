"""docs/plan-models.md says what is so. `python tests/plan/test_models_page.py` writes its table of presets anew."""

import re
import sys
from pathlib import Path

import pytest

from forebay.errors import ForebayError
from forebay.plan import pool_read, presets
from forebay.plan.model import Model

FILE = Path(__file__).parents[2] / "docs" / "plan-models.md"
MARKS = "<!-- presets: written by tests/plan/test_models_page.py -->", "<!-- end of presets -->"


def billions(weights):
    return f"{weights / 1e9:,.1f}" if weights >= 1e9 else f"{weights / 1e9:.2g}"


def row(name, one):
    m, e = one.model, one.model.experts
    heads = f"{m.heads}, latent" if m.latent else f"{m.heads} / {m.kv_heads}"
    mlp = f"{m.mlp_width:,}" if m.mlp_width else "-"
    experts = f"{e.chosen} of {e.count} x {e.width:,}" if e else "-"
    active = billions(m.active_parameters) if e else "-"
    mark = " \\*" if one.assumed else ""
    return f"| `{name}`{mark} | {m.layers} | {m.width:,} | {heads} | {mlp} | {experts} | {billions(m.parameters)} | {active} |"


def table():
    head = "| name | layers | width | heads / of keys | MLP | experts | 10^9 weights | of them met by a token |"
    return "\n".join([head, "|---|--:|--:|--:|--:|--:|--:|--:|", *(row(name, one) for name, one in presets.presets().items())])


def page():
    return FILE.read_text(encoding="utf-8")


def between(text):
    return text[text.index(MARKS[0]) + len(MARKS[0]) : text.index(MARKS[1])].strip()


def test_the_table_of_presets_is_that_of_the_file():
    assert between(page()) == table()


def test_the_keys_of_a_models_json_are_all_on_the_page():
    assert [name for name in Model.__slots__ if f'"{name}"' not in page()] == []


def test_the_json_of_the_page_is_a_model(tmp_path):
    (tmp_path / "mine.json").write_text(re.search(r"```json\n(.*?)```", page(), re.DOTALL)[1])
    model = presets.model(str(tmp_path / "mine.json"))
    assert model.experts and model.latent and model.window


def test_the_pool_of_the_page_is_one(tmp_path):
    counts = []
    for text in re.findall(r"```toml\n(.*?)```", page(), re.DOTALL):
        (tmp_path / "pool.toml").write_text(text)
        counts.append([cards.count for cards in pool_read.pool(str(tmp_path / "pool.toml")).cards])
    assert counts == [[4096, 2048], [8]]


def shown():
    """(what was asked, what the page says that one gets) of its blocks of errors."""
    for block in re.findall(r"```text\n(.*?)```", page(), re.DOTALL):
        first, _, rest = block.partition("\n")
        yield first.removeprefix("> "), rest.strip()


@pytest.mark.parametrize(("asked", "said"), list(shown()), ids=lambda text: text[:40])
def test_the_errors_of_the_page_are_what_one_gets(asked, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text('{\n  "model_type": "llama",\n  "num_hidden_layers": "32"\n}\n')
    ask = pool_read.pool if ":" in asked else presets.model
    with pytest.raises(ForebayError) as caught:
        ask(asked)
    assert f"{caught.value.kind}: {caught.value}" == said


if __name__ == "__main__":
    text = page()
    FILE.write_text(
        text.replace(between(text), table())
        if between(text)
        else text.replace("\n".join(MARKS), f"{MARKS[0]}\n{table()}\n{MARKS[1]}")
    )
    sys.exit(0)
