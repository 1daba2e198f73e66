"""A recipe says how a public project is run; what is wrong in it is said before anything runs."""

from pathlib import Path

import pytest
from porting_recipe import as_expected, find, progress_of, read

from forebay.errors import BadInput

RECIPES = Path(__file__).parents[2] / "benchmarks" / "recipes"
SMALL = """
project = "somebody/thing"
version = "1234567"
needs = { torch = "torch" }
[[entry]]
name = "train"
command = "torchrun --nproc_per_node=2 train.py --name 'two words'"
progress = 'loss ([-+.\\w]+)'
cards = 2
needs = { numpy = "numpy" }
"""


@pytest.fixture
def entry(tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing.recipe.toml").write_text(SMALL)
    return find(tmp_path, tmp_path / "none")[0]


def test_a_recipe_beside_a_project_gives_its_entries(entry):
    assert entry.title == "thing/train"
    assert entry.commands == (("torchrun", "--nproc_per_node=2", "train.py", "--name", "two words"),)
    assert (entry.cards, entry.expects, entry.plain) == (2, "falls", "fails")
    assert entry.needs == {"torch": "torch", "numpy": "numpy"}


def test_a_recipe_beside_the_project_goes_before_one_of_the_folder(tmp_path):
    projects, recipes = tmp_path / "projects", tmp_path / "recipes"
    (projects / "thing").mkdir(parents=True)
    recipes.mkdir()
    (recipes / "thing.toml").write_text(SMALL)
    assert find(projects, recipes)[0].name == "train"
    (projects / "thing.toml").write_text(SMALL.replace('name = "train"', 'name = "mine"'))
    assert find(projects, recipes)[0].name == "mine"


def test_a_project_without_a_recipe_is_passed_over(tmp_path):
    (tmp_path / "unknown").mkdir()
    assert find(tmp_path, tmp_path) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("progress = ", "progres = ", "unknown: progres"),
        ('name = "train"\n', "", "no field 'name'"),
        ("loss ([-+.\\w]+)", "loss [-+.\\w]+", "one group"),
        ("cards = 2", 'expects = "shrinks"', "shrinks"),
        ("cards = 2", "patch = 'x'", "unknown: patch"),
        ("[[entry]]", "[entry", "Expected"),
    ],
)
def test_a_wrong_recipe_is_refused_with_what_is_wrong(tmp_path, before, after, said):
    assert before in SMALL
    (tmp_path / "thing.toml").write_text(SMALL.replace(before, after))
    with pytest.raises(BadInput, match=said):
        read(tmp_path / "thing.toml", tmp_path)


def test_progress_is_what_the_last_command_printed_and_a_nan_is_none(entry):
    assert progress_of(entry, "loss 3.5\nnoise\nloss nan\nloss 1e-1\nloss inf\nloss word\n") == [3.5, 0.1]


@pytest.mark.parametrize(
    ("expects", "numbers", "kept"),
    [
        ("falls", [3.0, 2.0, 1.0], True),
        ("falls", [3.0, 1.0, 3.5], False),
        ("falls", [3.0], False),
        ("falls", [3.0, 9.0, 9.0, 9.0, 9.0, 9.0, 2.0, 1.0, 2.0, 2.5], True),  # two of ten at each end
        ("rises", [0, 1, 2], True),
        ("rises", [2, 1], False),
        ("is printed", [7.0], True),
        ("is printed", [], False),
    ],
)
def test_a_number_does_what_the_recipe_expects(tmp_path, expects, numbers, kept):
    (tmp_path / "thing.toml").write_text(SMALL.replace("cards = 2", f'expects = "{expects}"'))
    assert as_expected(read(tmp_path / "thing.toml", tmp_path)[0], numbers) is kept


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_can_be_read(path):
    entries = read(path, Path(path.stem))
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.shows, "nothing is said of what it exercises"
        compile(entry.data, str(path), "exec")
        for module, text in entry.stand_ins.items():
            compile(text, module, "exec")
