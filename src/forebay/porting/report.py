"""Say which chips can run a script, and why.

Asked:  given what a script needs, what becomes of it on each chip?
Answer: the worst line decides. A chip whose torch keeps the name "cuda" runs it as it is; processor cores run it under the
        shim's simulated device; a chip with a device name of its own runs it under the shim's identity
        layer, where there is an adapter. What a chip was measured to do comes
        after the lines, from porting.measured.
Limits: read from the text and the catalogue; nothing was run. A figure that the catalogue lacks doesn't prove that a chip
        lacks the number format: that is told as a reason, and doesn't worsen the verdict. PROVEN says where we have run anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from forebay.chips.chip import Chip
from forebay.porting.findings import Finding, Findings, Verdict, Word
from forebay.porting.kernels.translate import FAMILIES
from forebay.porting.rules import KERNELS, RULES
from forebay.porting.shim.chip.adapter import for_device
from forebay.porting.source_rules import LANES, TRANSLATED

ORDER = tuple(Word)  # best first
NEVER = "never"
PROVEN: Mapping[str, str] = {"cpu": "by this release's tests, under the simulated device"}
OWN_NAME = 'its torch has a device name of its own; the shim\'s identity layer answers to "cuda" there'
NO_ADAPTER = "its torch has a device name of its own, for which the shim's identity layer has no adapter"
NVIDIA_LANES = 32
_MOST_REASONS = 6


def verdicts(findings: Findings, chips: Iterable[Chip], proven: Mapping[str, str] = PROVEN) -> tuple[Verdict, ...]:
    """What becomes of the script on each chip. `proven` says by chip where we, or who uses this, ran anything."""
    return tuple(_verdict(findings, chip, proven.get(chip.name, NEVER)) for chip in chips)


def becomes(rule: str, chip: Chip) -> Word:
    """What becomes of a thing of this rule on this chip."""
    words = RULES[rule]
    if chip.device_type == "cpu":
        return words.cpu
    if not chip.speaks_cuda:
        translated = rule in TRANSLATED or rule in KERNELS
        word = Word.REWRITE if translated and chip.device_type in FAMILIES else words.own
        return word if _carried(chip) or not words.names_device else max(word, Word.REWRITE, key=ORDER.index)
    if chip.vendor == "nvidia":
        return Word.RUNS
    # With a width that nobody has told us, a person must look: a wrong sum says nothing.
    return Word.REWRITE if rule in LANES and chip.warp_size != NVIDIA_LANES else words.kin


def kind_of(chip: Chip) -> str:
    """The kind that a chip is of: chips of one kind share every word of `becomes`."""
    if chip.device_type == "cpu":
        return "processor cores"
    if chip.speaks_cuda:
        lanes = "" if chip.vendor == "nvidia" or chip.warp_size == NVIDIA_LANES else ", warps not known to have 32 lanes"
        lanes = ", warps of 64 lanes" if chip.warp_size == 64 else lanes
        return "NVIDIA" if chip.vendor == "nvidia" else f"its torch says cuda{lanes}"
    if not _carried(chip):
        return "a name of its own, without an adapter"
    return "a name of its own, kernels translated" if chip.device_type in FAMILIES else "a name of its own"


def by_kind(rule: str, chips: Iterable[Chip]) -> dict[str, Word]:
    """What becomes of a thing of this rule, by kind of chip."""
    return {kind_of(chip): becomes(rule, chip) for chip in chips}


def worst_of(rule: str, chips: Iterable[Chip]) -> Word:
    """The worst that becomes of a thing of this rule on any of the chips."""
    return max((becomes(rule, chip) for chip in chips), key=ORDER.index, default=Word.RUNS)


def worst(found: Iterable[Verdict]) -> Word:
    return max((verdict.verdict for verdict in found), key=ORDER.index, default=Word.RUNS)


def rows(findings: Findings) -> list[tuple[str, str, str, str]]:
    """A line a finding: where, what, what it means, the line itself."""
    one = len(findings.files) == 1
    return [(f"{f.line}" if one and f.cell is None else f.place, f.what, f.meaning, f.excerpt) for f in findings.findings]


def grouped(found: Iterable[Verdict]) -> list[tuple[Word, str, tuple[str, ...], tuple[str, ...]]]:
    """Chips with the same verdict for the same reasons together: verdict, proven, reasons, chips."""
    groups: dict[tuple[Word, str, tuple[str, ...]], list[str]] = {}
    for verdict in found:
        groups.setdefault((verdict.verdict, verdict.proven, verdict.why), []).append(verdict.chip)
    ordered = sorted(groups.items(), key=lambda item: ORDER.index(item[0][0]))
    return [(word, proven, why, tuple(chips)) for (word, proven, why), chips in ordered]


def _verdict(findings: Findings, chip: Chip, proven: str) -> Verdict:
    if "a device" not in findings.needs:
        why = "it names no device: it would run on the host's processor and leave the card idle"
        return Verdict(chip=chip.name, verdict=Word.RUNS, why=(why,), proven=proven)
    every = (*findings.findings, *findings.notes)
    everything = [finding for finding in every if RULES[finding.rule].decides]
    words = {rule: becomes(rule, chip) for rule in dict.fromkeys(finding.rule for finding in everything)}
    word = max(words.values(), key=ORDER.index, default=Word.RUNS)
    own_name = chip.device_type != "cpu" and not chip.speaks_cuda
    carried = _carried(chip)
    # Where nothing carries it, every place that names a device is to be rewritten: that is said once, not line by line.
    told = {rule for rule in words if words[rule] is word and (carried or not own_name or RULES[rule].own is not Word.RUNS)}
    reasons = [] if word is Word.RUNS else _reasons([finding for finding in everything if finding.rule in told])
    if own_name:
        word = word if carried else max(word, Word.REWRITE, key=ORDER.index)
        reasons.insert(0, OWN_NAME if carried else NO_ADAPTER)
    around = [one for one in every if not RULES[one.rule].decides and becomes(one.rule, chip) is not Word.RUNS]
    beside = [f"beside the program: {line}" for line in _reasons(around)]
    return Verdict(chip=chip.name, verdict=word, why=tuple(reasons + beside + _notes(findings, chip)), proven=proven)


def _carried(chip: Chip) -> bool:
    """Whether the shim's identity layer has an adapter for a chip with a device name of its own."""
    return for_device(chip.device_type, chip.plugin) is not None


def _reasons(findings: list[Finding]) -> list[str]:
    """A line a rule: what it is, and where it stands."""
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    lines = []
    for rule, group in list(by_rule.items())[:_MOST_REASONS]:
        places = list(dict.fromkeys(f.place for f in group))
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        lines.append(f"{RULES[rule].meaning} ({', '.join(places[:3])}{more})")
    return lines


def _notes(findings: Findings, chip: Chip) -> list[str]:
    """What else is good to know, and changes no verdict."""
    notes = []
    if "torch.distributed" in findings.needs and chip.backend is None:
        notes.append("no backend of torch.distributed is known for it: one card a run")
    if {"fp16", "fp32"} & set(chip.flop_per_s):
        lacking = [kind for kind in ("bf16", "fp8", "fp64") if kind in findings.needs and kind not in chip.flop_per_s]
        notes += [f"the catalogue has no {kind} figure for it: slow there, or missing" for kind in lacking]
    return notes
