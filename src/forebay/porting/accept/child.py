"""python -m forebay.porting.accept.child MODULE DESCRIPTOR SENTENCE... : run checks of one area in this process.

Asked:  how is one check kept from taking the suite with it?
Answer: it runs in a process of its area, which writes a line before and after each check to a pipe of the parent's. What the
        checks print goes where it went before.
Limits: checks of one process see what the ones before them left behind, as the parts of a script do.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

from forebay.porting.accept.claims import Skip


def main(name: str, descriptor: int, sentences: list[str]) -> None:
    def tell(**line: Any) -> None:
        os.write(descriptor, (json.dumps(line) + "\n").encode())

    try:
        module = importlib.import_module(name)
    except BaseException:
        why = traceback.format_exc()
        for sentence in sentences:
            tell(ended=sentence, verdict="fail", detail=why, seconds=0.0)
        return
    for sentence in sentences:
        tell(started=sentence)
        start = time.monotonic()
        verdict, detail = judge(getattr(module, sentence))
        tell(ended=sentence, verdict=verdict, detail=detail, seconds=round(time.monotonic() - start, 3))
    if hasattr(module, "_leave"):
        module._leave()


def judge(check: Any) -> tuple[str, str]:
    try:
        check()
    except Skip as reason:
        return "skipped", str(reason)
    except BaseException:
        return "fail", traceback.format_exc()
    return "pass", ""


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
