"""The pages that commands write, opened in a real browser: nothing is fetched, nothing fails, and what a reader clicks works."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.chips import certified
from forebay.chips.scorecard import Ceiling, Scorecard

pytestmark = pytest.mark.slow
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCRIPT = """\
import torch
model = torch.nn.Linear(4, 4).cuda()
torch.cuda.synchronize()
print(torch.cuda.Event(enable_timing=True), "</script><script>document.title = 'taken'</script> cuda")
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `pages` brings playwright")
    if BROWSER is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    page.asked, page.failed = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.failed.append(str(error)))
    page.on("console", lambda said: page.failed.append(said.text) if said.type == "error" else None)
    yield page
    page.close()


def forebay(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "forebay.cli", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def opened(page: Any, file: Path) -> Any:
    page.goto(file.as_uri())
    assert page.asked == [file.as_uri()]
    assert page.failed == []
    return page


@pytest.fixture
def report(tmp_path: Path) -> Path:
    project = tmp_path / "<b>project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    forebay("port", str(project), "--to", "cpu", "--to", "mi300x", "--html", str(tmp_path / "report.html"))
    return tmp_path / "report.html"


def test_a_report_shows_every_finding_and_runs_nothing_of_the_project(page: Any, report: Path):
    opened(page, report)
    assert page.title().endswith("<b>project")
    assert page.locator(".finding:visible").count() == 3
    assert page.locator("b:text('project')").count() == 0


def test_a_report_shows_only_the_rule_that_is_chosen(page: Any, report: Path):
    opened(page, report)
    page.select_option("#rule", "sync")
    assert page.locator(".finding:visible").count() == 1
    assert "torch.cuda.synchronize" in page.locator(".finding:visible").inner_text()


def test_a_report_changes_its_language(page: Any, report: Path):
    opened(page, report)
    assert "What ties it to CUDA" in page.locator("header").inner_text()
    page.click("#language")
    assert "与 CUDA 的绑定" in page.locator("header").inner_text()
    assert "What ties it to CUDA" not in page.locator("header").inner_text()


@pytest.mark.parametrize("width", [380, 1300])
def test_a_report_needs_no_sideways_scrolling(browser: Any, report: Path, width: int):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(params=["card", "gaps"])
def measured(request: Any, tmp_path: Path) -> Path:
    """A scorecard's page, and a vendor's work list."""
    letters = {"add": "ssss", "fft.fft": "ewct", "nn.functional.conv2d": "hnbu"}
    columns = ("float32 forward", "float32 backward", "bfloat16 forward", "bfloat16 backward")
    speed = Ceiling(kind="matmul", name="bf16", unit="flop/s", value=6e14, runs=9)
    told = {"operators": letters, "reasons": {"fft.fft": "<b>no"}, "ceilings": (speed,)}
    card = Scorecard(chip="h100-sxm", measured_on="2026-11-22", columns=columns, **told)
    certified.keep(card, tmp_path / "cards")
    forebay("chips", request.param, "h100-sxm", "--folder", str(tmp_path / "cards"), "--html", str(tmp_path / "page.html"))
    return tmp_path / "page.html"


def test_a_measured_chips_page_changes_its_language_and_its_light(page: Any, measured: Path):
    opened(page, measured)
    page.click("#tongue")
    assert page.locator("html.zh").count() == 1 and "运行" in page.locator("header").inner_text()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert page.locator("b:text('no')").count() == 0


@pytest.mark.parametrize("width", [380, 1300])
def test_a_measured_chips_page_needs_no_sideways_scrolling(browser: Any, measured: Path, width: int):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(measured.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
