"""python -m forebay.porting.certify --device NAME --out DIR [--import MODULE] [--carrier WHAT] [--smoke] [--only OPERATOR] ...

Measures a chip by torch's own operator database, with the Python that has the chip's torch. It needs torch and Forebay's files,
nothing else. `forebay chips certify` starts it and draws its progress; started by itself it tells its progress on stderr.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.errors import ForebayError, Unknown, nearest
from forebay.porting.certify.record import Book, Header, Run
from forebay.porting.certify.verdict import ORDER, Verdict, Word

LOG = "workers.log"
SMOKE_FORMATS = ("float32", "bfloat16")


def main(words: list[str]) -> int:
    asked = _parser().parse_args(words)
    try:
        if asked.carrier and "FOREBAY_SHIM" not in os.environ:
            environment = carried(asked.carrier, asked.cache)
            os.execve(sys.executable, [sys.executable, "-m", "forebay.porting.certify", *words], environment)
        found = certify(asked)
    except ForebayError as error:
        if asked.lines:
            _tell(error=error.to_json())
        else:
            print(f"{error.kind}: {error}", file=sys.stderr)
        return error.exit_code
    if not asked.lines:
        print(json.dumps(summary(found)) if asked.json else in_words(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m forebay.porting.certify", description="what does a chip compute, how exactly?"
    )
    parser.add_argument("--device", required=True, help="torch's name of the device, such as cpu, cuda, npu")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results; a run that stopped goes on there")
    parser.add_argument("--chip", default="", help="its name in the catalogue (default: the device's name)")
    parser.add_argument("--import", dest="imports", action="append", default=[], metavar="MODULE", help="brings the device")
    parser.add_argument("--carrier", default="", help="simulated, or an adapter's name such as fakechip: our shim carries it")
    parser.add_argument("--smoke", action="store_true", help="one sample of each operator, in float32 and bfloat16")
    parser.add_argument("--only", action="append", default=[], metavar="OPERATOR", help="of the database, with all its variants")
    parser.add_argument(
        "--formats", default="", help="torch's names, with commas between (default: float32 and what else there is)"
    )
    parser.add_argument("--also", action="append", default=[], metavar="FORMAT", help="beside those that are asked for anyway")
    parser.add_argument(
        "--jobs", type=int, default=min(8, os.cpu_count() or 1), help="operators at a time (default: as many as cores)"
    )
    parser.add_argument("--patience", type=float, default=120.0, help="seconds after which a silent operator has hung")
    parser.add_argument("--cache", type=Path, help="where the shim's compiled device is kept")
    parser.add_argument("--lines", action="store_true", help="progress and the summary as lines of JSON on stdout")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    return parser


def carried(kind: str, cache: Path | None) -> dict[str, str]:
    """This process's environment with the shim in it: the simulated cuda device, or a chip's adapter."""
    from forebay.porting.shim import load
    from forebay.porting.shim.__main__ import default_cache
    from forebay.porting.shim.build import build
    from forebay.porting.shim.carrier import Carrier, choose

    def say(line: str) -> None:
        print(f"forebay: {line}", file=sys.stderr, flush=True)

    place = cache or default_cache()
    if kind == "simulated":
        carrier = Carrier(kind, "for the certification", build(place, say))
    else:
        carrier = choose(place, say, kind)
    return {**os.environ, **load.child_environment(carrier, 1)}


def certify(asked: argparse.Namespace) -> Run:
    """Ask everything that the folder has no verdict for yet."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from forebay.porting.certify import crew, database

    formats = tuple(asked.formats.split(",")) if asked.formats else SMOKE_FORMATS if asked.smoke else database.FORMATS
    formats = tuple(dict.fromkeys((*formats, *asked.also)))
    _check_place(asked.device, asked.imports)
    _check_formats(formats)
    entries = database.load()
    wanted = {name: op for name, op in entries.items() if not asked.only or _is_asked(name, asked.only)}
    for name in asked.only:
        if not any(_is_asked(one, [name]) for one in entries):
            raise Unknown("Torch's database has no such operator.", asked=name, hint=", ".join(nearest(name, list(entries))))
    cases = database.cases(wanted, formats)
    header = _header(asked, formats, len(entries), database.fingerprint(entries, cases), len(cases))
    book = Book(asked.out, header)
    try:
        have = {verdict.case for verdict in book.verdicts}
        verdicts = list(book.verdicts)
        works = [
            crew.Work(name, left)
            for name in wanted
            if (left := tuple(case for case in database.cases_of(name, wanted[name], formats) if case not in have))
        ]
        say = _lines(len(cases)) if asked.lines else _text(len(cases))
        say(verdicts)

        def keep(more: Sequence[Verdict]) -> None:
            if more:
                book.add(more)
                verdicts.extend(more)
                say(verdicts)

        with open(asked.out / LOG, "ab", buffering=0) as log:
            hiring = crew.Hiring(
                wanted, asked.device, tuple(asked.imports), header.mode, _can_fork(asked.device, asked.carrier), log
            )
            crew.run(works, hiring, jobs=max(1, asked.jobs), patience_s=asked.patience, keep=keep)
        found = Run(book.header, tuple(verdicts))
    finally:
        book.close()
    if asked.lines:
        _tell(summary=summary(found))
    return found


def _is_asked(name: str, only: Sequence[str]) -> bool:
    """An operator is asked by its full name, or by torch's name of it, which stands for all its variants."""
    return any(name == one or name.startswith(one + ".") for one in only)


def _check_place(device: str, imports: Sequence[str]) -> None:
    """What can be known before the database is loaded, which takes seconds. The rest a worker finds out, as it opens the chip."""
    from forebay.porting.certify import crew

    for module in imports:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            raise crew.no_chip(device, f"ModuleNotFoundError: No module named {module!r}")
    if not imports:  # a plug-in may bring the device's name
        import torch

        try:
            torch.device(device)
        except RuntimeError as error:
            raise crew.no_chip(device, f"RuntimeError: {str(error).strip()[:500]}") from None


def _check_formats(formats: Sequence[str]) -> None:
    import torch

    for name in formats:
        if not isinstance(getattr(torch, name, None), torch.dtype):
            known = [one for one in dir(torch) if isinstance(getattr(torch, one), torch.dtype)]
            raise Unknown("Torch has no such number format.", asked=name, hint=", ".join(nearest(name, known)) or "float32")


def _can_fork(device: str, carrier: str) -> bool:
    """Whether a forked worker can use the device: not where this process has begun to use a driver, or may have."""
    import torch

    kind = device.partition(":")[0]
    if kind == "cpu" or carrier:
        return sys.platform == "linux"
    begun = getattr(getattr(torch, kind, None), "is_initialized", lambda: False)
    return sys.platform == "linux" and kind not in ("cuda", "xpu", "hpu", "mps", "mtia", "xla") and not begun()


def _header(asked: argparse.Namespace, formats: tuple[str, ...], entries: int, database: str, cases: int) -> Header:
    import platform

    import torch

    from forebay import __version__

    software = {"torch": torch.__version__, "python": platform.python_version(), "forebay": __version__}
    for module in asked.imports:
        software[module] = _version(module)
    return Header(
        chip=asked.chip or asked.carrier or asked.device,
        device=asked.device,
        imports=tuple(asked.imports),
        carrier=asked.carrier,
        mode="smoke" if asked.smoke else "full",
        formats=formats,
        only=tuple(asked.only),
        seed=_seed(),
        entries=entries,
        database=database,
        cases=cases,
        reference=f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
        software=software,
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _seed() -> int:
    from forebay.porting.certify.samples import SEED

    return SEED


def _version(module: str) -> str:
    import importlib.metadata

    for name in (module, module.partition(".")[0]):
        for package in importlib.metadata.packages_distributions().get(name, [name]) if sys.version_info >= (3, 10) else [name]:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
    return "unknown"


def _processor() -> str:
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


# ---------------------------------------------------------------- what is told


def summary(run: Run) -> dict[str, Any]:
    """The counts of a run: by word, and of what is untested."""
    words = Counter(verdict.word.value for verdict in run.verdicts)
    untested = [verdict.operator for verdict in run.verdicts if verdict.word is Word.UNTESTED]
    tried = {verdict.operator for verdict in run.verdicts if verdict.word is not Word.UNTESTED}
    all_of = {verdict.operator for verdict in run.verdicts}
    return {
        "chip": run.header.chip,
        "mode": run.header.mode,
        "whole": run.whole,
        "cases": run.header.cases,
        "verdicts": {word.value: words[word.value] for word in ORDER if words[word.value]},
        "operators": len(all_of),
        "operators_untested": len(all_of - tried),
        "untested_share_of_cases": len(untested) / max(1, len(run.verdicts)),
        "untested_share_of_operators": len(all_of - tried) / max(1, len(all_of)),
        "chip_seconds": sum(verdict.seconds or 0.0 for verdict in run.verdicts),
    }


def in_words(run: Run) -> str:
    told = summary(run)
    lines = [f"{word.value:<15} {told['verdicts'].get(word.value, 0):6}" for word in ORDER]
    share = 100 * told["untested_share_of_operators"]
    lines.append(f"{told['operators']} operators, {told['operators_untested']} of them untested ({share:.2f} %)")
    return "\n".join(lines)


def _lines(whole: int) -> Any:
    def say(verdicts: Sequence[Verdict]) -> None:
        last = verdicts[-1].operator if verdicts else ""
        words = Counter(verdict.word.value for verdict in verdicts)
        _tell(at=len(verdicts), of=whole, operator=last, verdicts=words)

    return say


def _text(whole: int) -> Any:
    last = [0.0]

    def say(verdicts: Sequence[Verdict]) -> None:
        if time.monotonic() - last[0] > 5 or len(verdicts) == whole:
            last[0] = time.monotonic()
            print(f"forebay: {len(verdicts)} of {whole} verdicts", file=sys.stderr, flush=True)

    return say


def _tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
