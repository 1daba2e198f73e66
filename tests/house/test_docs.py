"""The pages of the house: links that lead somewhere, commands that there are, two languages that say the same."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import typer

from forebay.cli.main import VERBS
from forebay.data.ignore import left_out, read_rules

ROOT = Path(__file__).parents[2]
BLOCKS = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

# Said in pieces, so that this file doesn't hold them. A repository that names the machine it was written on works only there.
FORBIDDEN = ["/" + "work/", "/root/" + ".pyenv", "pip" + ".conf", "pypi" + ".org", "python" + "hosted"]


def files() -> list[Path]:
    """Every file that belongs to the repository."""
    rules = read_rules((ROOT / ".gitignore").read_text() + "/.git/\n", "")

    def below(folder: Path) -> list[Path]:
        found = []
        for path in sorted(folder.iterdir()):
            if not left_out(path.relative_to(ROOT).as_posix(), path.is_dir(), rules):
                found += below(path) if path.is_dir() else [path]
        return found

    return below(ROOT)


PAGES = [path for path in files() if path.suffix == ".md"]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_within_the_repository_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", BLOCKS.sub("", page.read_text()))
    here = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in here if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_that_a_page_names_is_one(page):
    named = re.findall(r"(?:`|\$ |\$\()(forebay [a-z]+(?: [a-z]+)?)", page.read_text())
    assert [command for command in named if not is_command(*command.split()[1:])] == []


def is_command(verb: str, word: str = "") -> bool:
    """True for a verb; and where a verb has commands of its own, as `forebay data make`, only with one of them, or with any word
    where another word is an argument, as `forebay plan llama-3-8b`.
    """
    if verb not in VERBS:
        return False
    command = typer.main.get_command(import_module(f"forebay.cli.{verb}").app)
    return not word or word in getattr(command, "commands", [word]) or hasattr(command, "otherwise")


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_commands_for_newcomers_are_in_the_makefile(readme):
    wanted = re.findall(r"^\$ make (\S+)", (ROOT / readme).read_text(), re.MULTILINE)
    assert {"demo", "test", "test-slow"} <= set(wanted)
    assert set(wanted) <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_both_readmes_show_the_same_commands():
    english, chinese = (BLOCKS.findall((ROOT / page).read_text()) for page in ("README.md", "README.zh-CN.md"))
    assert [without_comments(block) for block in english] == [without_comments(block) for block in chinese]


def without_comments(block: str) -> str:
    return re.sub(r" +# .*$", "", block, flags=re.MULTILINE)


def test_both_readmes_lead_to_the_same_pages():
    english, chinese = (re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()) for page in ("README.md", "README.zh-CN.md"))
    assert [link for link in english if "README.zh" not in link] == [link for link in chinese if link != "README.md"]


def test_every_decision_is_in_the_index_under_its_own_title():
    folder = ROOT / "docs" / "decisions"
    index = dict(re.findall(r"^\| \[(\d{4})\]\((\S+)\)", (folder / "README.md").read_text(), re.MULTILINE))
    pages = {path.name[:4]: path for path in folder.glob("[0-9]*.md")}
    assert {number: page.name for number, page in pages.items()} == index
    assert [number for number, page in pages.items() if not page.read_text().startswith(f"# {number} ")] == []


def test_every_decision_says_what_instead_of_what_and_when_it_will_hurt():
    pages = (ROOT / "docs" / "decisions").glob("[0-9]*.md")
    words = ("what", "instead of", "hurt")
    assert [page.name for page in pages if not all(word in page.read_text().lower() for word in words)] == []


def test_no_file_names_the_machine_it_was_written_on_or_a_package_registry():
    found = [
        f"{name(path)}: {word}" for path in files() for word in FORBIDDEN if word in path.read_bytes().decode(errors="replace")
    ]
    assert found == []
