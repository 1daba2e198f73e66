"""`forebay demo`: the whole journey on this machine, from a CUDA script to its bill.

Every step is an ordinary command, printed before it is run, so that a person can repeat it. Real processes train a real model on
this machine's cards, one of them is really killed, and the bill is folded from the cloud's own journal.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.rule import Rule

from forebay.cli import out
from forebay.cli.bill import print_bill
from forebay.cli.demo_page import Results, page
from forebay.codec import encode
from forebay.errors import ForebayError, RunFailed, Unknown

app = typer.Typer(add_completion=False)
STDLIB = [
    "--include",
    "*.py",
    "--exclude",
    "site-packages",
    "--exclude",
    "dist-packages",
    "--exclude",
    "test",
    "--exclude",
    "tests",
]
STDLIB += ["--exclude", "idlelib", "--exclude", "lib2to3"]
PATIENCE_S = 600.0


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cloud running, and its folder.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder to use. Default: a new one, removed at the end.")] = None,
    steps: Annotated[int, typer.Option(help="Steps to train.", min=60)] = 400,
    report: Annotated[Path, typer.Option(help="Where to write the page of results.")] = Path("forebay-demo.html"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON on stdout, and the showing on stderr.")
    ] = False,
) -> None:
    """Show the whole journey on this machine, from a CUDA script to its bill."""
    out.console.stderr = as_json
    examples = find_examples()
    folder = (data or Path(tempfile.mkdtemp(prefix="forebay-demo-"))).absolute()
    show = Demo(folder=folder, examples=examples, steps=steps)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        show.all()
        report.write_text(page(show.results), encoding="utf-8")
        show.finish(report)
    finally:
        if keep:
            show.say(f"Left running, as you asked. To stop it: forebay down --stop-runs --data {folder}")
        else:
            show.shut_down(remove=data is None)
    if as_json:
        out.as_json(encode(show.results))
    if show.results.final_loss >= show.results.unigram_nats:
        raise RunFailed(
            "The model learned less than the frequencies of letters.",
            found=f"loss {show.results.final_loss:.3f}, unigram {show.results.unigram_nats:.3f}",
        )


def find_examples() -> Path:
    """The example scripts: in this folder, or where Forebay's source lies."""
    for place in (Path.cwd() / "examples", Path(__file__).parents[3] / "examples"):
        if (place / "train_gpt.py").is_file():
            return place
    raise Unknown(
        "The demo's example scripts are not here.", found=f"no examples/train_gpt.py in {Path.cwd()}", hint="run it in a clone"
    )


@dataclass
class Demo:
    """One showing. The steps share the folder, the key, and what they found out."""

    folder: Path
    examples: Path
    steps: int
    key: str = ""
    results: Results = field(default_factory=Results)
    began: float = field(default_factory=time.monotonic)
    up: bool = False

    def all(self) -> None:
        out.console.print(Rule("Forebay: a script written for CUDA goes through the pool"))
        self.say(f"export FOREBAY_DATA={self.folder}", command=True)
        chip = self.start_cloud()
        self.make_tenant(chip)
        self.make_data()
        self.read_script()
        job = self.train()
        self.account(job)
        self.sample(job)

    # The steps.

    def start_cloud(self) -> str:
        self.step(1, "The cloud starts, with one centre: this machine")
        self.forebay("up", "--port", "0")
        self.up = True
        pool = self.client().pool()
        chips = Counter(node["chip"] for centre in pool["centres"] for node in centre["nodes"] for _ in node["cards"])
        chip, cards = chips.most_common(1)[0]
        self.results.chip, self.results.cards = str(chip), min(2, cards)
        return self.results.chip

    def make_tenant(self, chip: str) -> None:
        self.step(2, "An organisation, a project, a price, a quota, a key")
        self.forebay("org", "make", "acme", "--project", "research")
        self.forebay("price", "set", chip, "0.000350")
        self.forebay("quota", "set", "acme", chip, str(self.results.cards))
        self.say("forebay key make acme/research", command=True)
        _, self.key = self.client().make_key("acme/research", name="demo")
        self.say("export FOREBAY_KEY=fb_…   (a member's key: all that follows is done as the tenant)", command=True)

    def make_data(self) -> None:
        self.step(3, "A data set of real text: the sources of Python's standard library")
        library = sysconfig.get_path("stdlib")
        self.forebay("data", "make", "stdlib", library, *STDLIB)
        self.results.unigram_nats = unigram_nats(Path(library))
        self.say(
            f"A model that knew only how frequent each byte is would reach a loss of {self.results.unigram_nats:.3f} nats a byte."
        )

    def read_script(self) -> None:
        self.step(4, "What the script needs from a chip, line by line")
        self.forebay("port", self.script("train_gpt.py"))

    def train(self) -> str:
        self.step(5, "The script trains, unchanged, on this machine's cards; in the middle one of its processes is killed")
        argv = ["--steps", str(self.steps), "--checkpoint-every", "25"]
        asked = ["run", "--detach", "--name", "gpt", "--cards", str(self.results.cards), "--data", "stdlib:data"]
        told = self.forebay(*asked, self.script("train_gpt.py"), "--", *argv)
        job = told.split()[1]
        self.say(f"forebay logs -f {job}", command=True)
        self.follow(job)
        self.results.job = job
        return job

    def account(self, job: str) -> None:
        self.step(6, "Its whole life, and what it cost")
        self.forebay("story", job)
        self.say(f"forebay bill --job {job}", command=True)
        bill = self.client().bill(job=job)
        print_bill(bill)
        self.results.bill = bill
        self.results.story = self.client().story(job)

    def sample(self, job: str) -> None:
        self.step(7, "A second script samples text from the checkpoint")
        argv = ["--checkpoint", "trained/checkpoint.pt", "--prompt", "def ", "--length", "320"]
        self.forebay(
            "run", "--detach", "--entry", "sample_gpt.py", "--input", f"{job}:trained", str(self.script("")), "--", *argv
        )
        sampling = self.client().jobs(most=1)[0]["id"]
        with self.bar() as bar:
            bar.add_task("sampling", total=None, note="")
            over = self.client().wait(sampling, timeout_s=PATIENCE_S)
        lines = [line["text"] for line in self.client().logs(sampling)]
        if over["phase"] != "succeeded":
            raise RunFailed("Sampling failed.", asked=sampling, found=over["reason"] + "\n" + "\n".join(lines[-10:]))
        self.results.sample = "\n".join(lines)
        out.console.print(self.results.sample, style="cyan", markup=False)

    # Following the training, and the kill.

    def follow(self, job: str) -> None:
        """Show loss, speed and progress live; kill a rank when half of the steps are done and a checkpoint is there."""
        killing = threading.Thread(target=self._kill_in_the_middle, args=(job,), daemon=True)
        killing.start()
        tenant = self.client()
        with self.bar() as bar:
            task = bar.add_task("training", total=self.steps, note="starting")
            for line in tenant.logs(job, follow=True):
                point = self.results.note(line)
                if point and point.attempt == self.results.points[-1].attempt:
                    bar.update(task, completed=point.step, note=f"loss {point.loss:.3f}   {point.tokens_per_s:,.0f} tokens/s")
                if not sys.stdout.isatty() and (point is None or point.step % 50 == 0):
                    out.console.print(f"[{line['rank']}] {line['text']}", markup=False, soft_wrap=True)
        over = tenant.wait(job, timeout_s=PATIENCE_S)
        if over["phase"] != "succeeded":
            last = "\n".join(line["text"] for line in list(tenant.logs(job))[-15:])
            raise RunFailed("The training failed.", asked=job, found=f"{over['reason']}\n{last}", hint="forebay doctor")
        self.results.carrier = over["runs"][-1]["carrier"]
        self.results.attempts = len(over["runs"])

    def _kill_in_the_middle(self, job: str) -> None:
        while not (self.results.points and self.results.points[-1].step > self.steps // 2):
            time.sleep(0.1)
        last, rank = self.results.points[-1], self.results.cards - 1
        name = f"{job}-{last.attempt}.{rank}"
        self.say(f"pkill -9 -x {name}      (the demo kills rank {rank} of the run)", command=True)
        if kill_by_name(name):
            self.results.killed_attempt, self.results.killed_at_step = last.attempt, last.step
        else:
            self.say(f"No process {name} was found: nothing was killed.")

    # Speaking and running commands.

    def step(self, number: int, title: str) -> None:
        out.console.print()
        out.console.print(Rule(f"{number}. {title}   [{time.monotonic() - self.began:.0f} s]", align="left", style="dim"))

    def say(self, text: str, *, command: bool = False) -> None:
        out.console.print(f"$ {text}" if command else text, style="bold" if command else None, markup=False, soft_wrap=True)

    def forebay(self, *words: str) -> str:
        """Run an ordinary command, in sight."""
        self.say("forebay " + shlex.join(words), command=True)
        process = subprocess.run(
            [sys.executable, "-m", "forebay.cli", *words],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        out.console.print(process.stdout.rstrip(), markup=False, soft_wrap=True)
        if process.returncode:
            raise RunFailed("A command of the demo failed.", asked="forebay " + shlex.join(words), found=process.stderr.strip())
        return process.stdout

    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
        width = {"COLUMNS": str(out.console.width)}
        return plain | width | {"FOREBAY_DATA": str(self.folder)} | ({"FOREBAY_KEY": self.key} if self.key else {})

    def client(self) -> Any:
        from forebay.client import Client

        address = (self.folder / "address").read_text().strip()
        return Client(address, self.key or (self.folder / "operator.key").read_text().strip())

    def script(self, name: str) -> str:
        path = self.examples / name
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

    def bar(self) -> Progress:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        return Progress(*columns, console=out.console, transient=True)

    # The end.

    def finish(self, report: Path) -> None:
        r = self.results
        out.console.print()
        out.console.print(Rule("Results"))
        seconds = time.monotonic() - self.began
        out.facts(
            [
                ("script", f"{self.script('train_gpt.py')}: written for CUDA, not a character changed"),
                ("ran on", f"{r.cards} x {r.chip}; CUDA's words were carried by: {r.carrier}"),
                ("loss", f"{r.first_loss:.3f} → {r.final_loss:.3f} nats a byte; letter frequencies alone: {r.unigram_nats:.3f}"),
                ("speed", f"{r.median_tokens_per_s:,.0f} tokens/s on all cards, measured by the script with torch.cuda.Event"),
                (
                    "kill -9",
                    f"at step {r.killed_at_step}; {r.back_after_s:.1f} s later it had gone on to step {r.resumed_at_step}",
                ),
                ("cost", r.cost_line),
                ("whole demo", f"{seconds:.0f} s"),
                ("page", report.absolute()),
            ]
        )
        self.say(
            "Your own: forebay up, then forebay run --project ORGANISATION/PROJECT --cards 2 YOUR_SCRIPT.py -- ITS ARGUMENTS"
        )

    def shut_down(self, *, remove: bool) -> None:
        if self.up:
            self.key = ""
            try:
                self.forebay("down", "--stop-runs")
            except ForebayError as error:
                out.error(error)
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)


def unigram_nats(library: Path) -> float:
    """The entropy of the data set's bytes, in nats a byte: the best loss of a model that sees no context (Shannon 1948)."""
    from forebay.data.dataset import scan

    include, exclude = tuple(STDLIB[1:2]), tuple(STDLIB[3::2])
    counts: Counter[int] = Counter()
    for file in scan(library, include, exclude=exclude).files:
        counts.update((library / file.path).read_bytes())
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


def kill_by_name(name: str) -> bool:
    """SIGKILL every process of that name, as `pkill -9 -x` does."""
    found = False
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == name:
                os.kill(int(comm.parent.name), signal.SIGKILL)
                found = True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
