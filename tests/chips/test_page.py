"""docs/chips.md says what is so."""

import re
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from forebay.chips import catalogue
from forebay.cli import chips, doctor

PAGE = (Path(__file__).parents[2] / "docs" / "chips.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_run():
    apps = {"chips": chips.app, "doctor": doctor.app}
    block = re.search(r"```console\n(.*?)```", PAGE, re.DOTALL)[1]
    lines = [line.removeprefix("$ ").partition("#")[0].split() for line in block.splitlines()]
    assert len(lines) == 5
    for program, verb, *words in lines:
        assert program == "forebay"
        assert CliRunner().invoke(apps[verb], words, prog_name=f"forebay {verb}").exit_code in (0, 1)


def test_the_example_of_a_vendor_file_is_what_the_reader_reads():
    file = tomllib.loads(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])
    file |= {"vendor": "vendor", "sources": file["sources"] | {"other": ["Another source", "2026"]}}
    chip = catalogue._chip("x1", file["chips"]["x1"], file)
    assert (chip.device_type, chip.flop_per_s, chip.memory_bytes) == ("cuda", {"bf16": 400e12}, 64 * 10**9)
    assert chip.sources["memory_bytes"].where == "Vendor X1 data sheet"
    assert chip.sources["memory_bytes_per_s"].where == "Another source"


def test_the_clashes_of_the_page_are_those_of_the_catalogue():
    by = {}
    for chip in catalogue.load().values():
        for word in (chip.backend, chip.monitor):
            by.setdefault(word, set()).add(chip.vendor)
    shared = {word for word, vendors in by.items() if word and len(vendors) > 1}
    assert shared == {"hccl", "xpu-smi", "nccl", "gloo"}
    assert all(f"`{word}`" in PAGE for word in shared - {"gloo"})
