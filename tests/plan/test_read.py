"""config.json: shapes as their families mean them, weights as their makers count them, slips with file and line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadInput
from forebay.plan.model import Experts, Latent, Window
from forebay.plan.presets import describe, presets
from forebay.plan.read import read
from forebay.plan.read.fields import line_of

PUBLISHED = json.loads((Path(__file__).parent / "published_configs.json").read_text())
SAME_AS_PRESET = PUBLISHED["presets"]  # a preset of the same model was typed from papers: they must agree
LLAMA_8B, DEEPSEEK_V3, GPT_OSS = (SAME_AS_PRESET[name] for name in ("llama-3-8b", "deepseek-v3", "gpt-oss-120b"))


def shape(model):
    return {name: getattr(model, name) for name in model.__slots__ if name != "name"}


@pytest.mark.parametrize("name", SAME_AS_PRESET)
def test_a_published_file_gives_the_shape_of_the_preset(name):
    assert shape(read(SAME_AS_PRESET[name]).model) == shape(presets()[name].model)


@pytest.mark.parametrize("one", PUBLISHED["weights"], ids=lambda one: one["source"])
def test_weights_are_those_that_are_published(one):
    assert read(one["config"]).model.parameters == pytest.approx(one["weights"], rel=0.01)


def test_a_window_that_isnt_used_is_none():
    config = {**LLAMA_8B, "model_type": "qwen2", "sliding_window": 4096, "max_window_layers": 16, "use_sliding_window": False}
    assert read(config).model.window is None
    assert read({**LLAMA_8B, "sliding_window": 8192}).model.window is None  # as long as any sequence


def test_the_first_layers_of_a_qwen2_with_a_window_see_all():
    told = read({**LLAMA_8B, "model_type": "qwen2", "sliding_window": 4096, "max_window_layers": 16, "use_sliding_window": True})
    assert told.model.window == Window(tokens=4096, full_every=2)
    assert "unevenly" in told.notes[0]


def test_layer_types_say_which_layers_see_all():
    told = read({**GPT_OSS, "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 6}).model
    assert told.window == Window(tokens=128, full_every=6)
    assert told.windowed_layers == 30


def test_dense_layers_between_expert_layers_are_counted_and_said():
    told = read({**SAME_AS_PRESET["qwen3-235b-a22b"], "decoder_sparse_step": 2, "num_hidden_layers": 8})
    assert told.model.experts == Experts(count=128, chosen=8, width=1536, dense_layers=4)
    assert told.model.mlp_width == 12288
    assert "between the expert layers" in told.notes[0]
    told = read({**SAME_AS_PRESET["qwen3-235b-a22b"], "mlp_only_layers": [0, 1]})
    assert told.model.experts.dense_layers == 2 and not told.notes


def test_latent_attention_without_a_query_rank():
    model = read(SAME_AS_PRESET["deepseek-v2-lite"]).model
    assert model.latent == Latent(query_rank=0, kv_rank=512, plain=128, rotary=64, value=128)


def test_of_a_multimodal_model_the_text_part_is_planned_and_said():
    told = read(SAME_AS_PRESET["gemma-3-27b"])
    assert told.notes[0].startswith("only the text part is planned (text_config)")
    assert "vocab_size 262,208" in told.notes[1]


def test_an_unknown_family_is_read_as_llamas_and_said():
    told = read({**LLAMA_8B, "model_type": "brand_new"})
    assert shape(told.model) == shape(read(LLAMA_8B).model)
    assert "'brand_new' isn't known" in told.notes[0]


@pytest.mark.parametrize("kind", ["mamba2", "jamba", "t5", "bert", "qwen3_next"])
def test_a_family_that_is_no_such_transformer_is_refused(kind):
    with pytest.raises(BadInput, match="can't be described"):
        read({**LLAMA_8B, "model_type": kind})


def test_layers_of_other_kinds_are_refused_by_their_fields():
    with pytest.raises(BadInput, match="mamba_d_state"):
        read({**LLAMA_8B, "model_type": "new_hybrid", "mamba_d_state": 16})
    with pytest.raises(BadInput, match="linear_attention"):
        read({**LLAMA_8B, "layer_types": ["linear_attention"] * 32})


def written(tmp_path, config, **changed):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config, **changed}, indent=2))
    return path


def test_a_file_its_folder_and_its_table_are_read_alike(tmp_path):
    path = written(tmp_path, LLAMA_8B)
    assert shape(read(path).model) == shape(read(str(tmp_path)).model) == shape(read(LLAMA_8B).model)
    assert shape(describe(str(tmp_path)).model) == shape(read(LLAMA_8B).model)
    assert read(path).model.name == tmp_path.name


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"num_hidden_layers": "32"}, "line 5: num_hidden_layers: a whole number, 1 or more."),
        ({"num_hidden_layers": 10**9}, "line 5: num_hidden_layers: a whole number, 1 or more, at most 10,000."),
        ({"hidden_size": -1}, "line 3: hidden_size: a whole number"),
        ({"hidden_size": True}, "line 3: hidden_size: a whole number"),
        ({"vocab_size": 10**12}, "line 8: vocab_size: a whole number"),
        ({"tie_word_embeddings": "no"}, "line 9: tie_word_embeddings: true or false."),
        ({"num_key_value_heads": 7}, "line 7: num_key_value_heads: 32 query heads can't share 7"),
        ({"num_attention_heads": 33, "num_key_value_heads": 11}, "line 6: num_attention_heads: a width of 4096"),
        ({"layer_types": ["full_attention"]}, "layer_types: 1 entries for 32 layers."),
        (
            {"num_local_experts": 8, "num_experts_per_tok": 9},
            "line 12: num_experts_per_tok: a token can't choose 9 of 8 experts.",
        ),
    ],
)
def test_a_wrong_field_is_named_with_file_and_line(tmp_path, changed, told):
    path = written(tmp_path, LLAMA_8B, **changed)
    with pytest.raises(BadInput) as caught:
        read(path)
    assert str(path) in caught.value.text
    assert told in caught.value.text


def test_the_line_is_that_of_the_nested_field(tmp_path):
    path = written(tmp_path, {"hidden": {"hidden_size": 1}, "text_config": {**LLAMA_8B, "hidden_size": "wide"}})
    with pytest.raises(BadInput, match=r"line 7: text_config\.hidden_size"):
        read(path)


@pytest.mark.parametrize("field", ["num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "intermediate_size"])
def test_a_missing_field_is_named(field):
    config = {name: value for name, value in LLAMA_8B.items() if name != field}
    with pytest.raises(BadInput, match="is missing") as caught:
        read({**config, "model_type": "brand_new"})
    assert field in caught.value.text + caught.value.hint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: no JSON"),
        ("[1, 2]", "a table of fields"),
        ('{\n "a": 1,\n "b": \n}', "line 4: no JSON"),
        ('{\n "hidden_size": 1,\n "hidden_size": 2\n}', "line 3: hidden_size is said twice."),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_no_json_is_named_with_its_line(tmp_path, text, told):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadInput) as caught:
        read(tmp_path)
    assert told in caught.value.text


def test_a_file_that_is_no_text_or_isnt_there(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="can't be read as text"):
        read(tmp_path)
    with pytest.raises(BadInput, match="no such file"):
        read(tmp_path / "other.json")


WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), st.text(), st.lists(st.integers()), st.just({})
)


@given(st.sampled_from([LLAMA_8B, DEEPSEEK_V3, GPT_OSS, *SAME_AS_PRESET.values()]), st.data())
def test_whatever_a_field_holds_the_answer_is_a_model_or_one_clear_error(config, data):
    field = data.draw(st.sampled_from(sorted(config)))
    changed = {**config, field: data.draw(WRONG)}
    try:
        model = read(changed).model
    except BadInput as bad:
        assert bad.text
    else:
        assert model.parameters > 0
        assert model.active_parameters > 0


@given(st.sampled_from(sorted(LLAMA_8B)), st.integers(0, 6))
def test_a_line_is_found_however_the_file_is_laid_out(field, blanks):
    text = "{" + ",".join(
        "\n" * (blanks if name == field else 1) + f'"{name}": {json.dumps(LLAMA_8B[name])}' for name in LLAMA_8B
    )
    text += "}"
    assert f'"{field}":' in text.split("\n")[line_of(text, (field,)) - 1]


def test_a_field_that_is_null_is_named_as_such():
    with pytest.raises(BadInput, match="num_experts_per_tok: a whole number"):
        read({**DEEPSEEK_V3, "num_experts_per_tok": None})


def test_layers_named_dense_and_sparse_one_by_one():
    kinds = ["dense"] * 3 + ["sparse"] * 58
    assert read({**DEEPSEEK_V3, "mlp_layer_types": kinds, "first_k_dense_replace": None}).model == read(DEEPSEEK_V3).model
    with pytest.raises(BadInput, match="1 entries for 61 layers"):
        read({**DEEPSEEK_V3, "mlp_layer_types": ["dense"]})


FAMILIES = """
llama mistral qwen2 qwen3 qwen2_moe qwen3_moe mixtral deepseek_v3 gpt_oss gemma gemma2 gemma3_text phi3 gpt2
gpt_neox gpt_neo opt bloom falcon mpt glm glm4 starcoder2 olmo olmo2 olmo3 gpt_bigcode gptj codegen phi persimmon stablelm cohere
cohere2 granite granitemoe olmoe phimoe llama4_text minimax_m2 smollm3 ernie4_5 ernie4_5_moe helium exaone4 seed_oss arcee apertus
nanochat
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES.split())
def test_a_family_has_the_weights_that_transformers_gives_it(kind):
    """Its default configuration, read by us; and built by transformers on the meta device, and counted."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    if kind not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    config = transformers.CONFIG_MAPPING[kind]()
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config)
    matrices = sum(weight.numel() for weight in module.parameters() if weight.ndim > 1)
    assert read({**config.to_diff_dict(), "model_type": kind}).model.parameters == pytest.approx(matrices, rel=0.001)
