"""Started by Python itself, before the script: gives the process the carrier that FOREBAY_SHIM names.

The folder of this file is on PYTHONPATH, for the script and for each Python that it starts. It then runs the sitecustomize
that this one hides, if there is one. A carrier that can't be installed ends the process: a run must not go on without it.
"""

import importlib.machinery
import importlib.util
import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))


def _install() -> None:
    source = os.path.abspath(os.path.join(_here, "..", "..", "..", ".."))
    sys.path.insert(0, source)  # the job's own Python may not have forebay; it needs only these files
    try:
        from forebay.errors import ForebayError
        from forebay.porting.shim import load

        try:
            load.install_from_environment()
        except ForebayError as error:
            raise SystemExit(f"forebay: {error}") from None
    finally:
        sys.path.remove(source)


def _run_hidden() -> None:
    places = [place for place in sys.path if os.path.abspath(place or os.curdir) != _here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


_install()
_run_hidden()
