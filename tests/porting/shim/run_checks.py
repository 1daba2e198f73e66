"""Run every check of a file in this process and print, as JSON, what each said: "" or its traceback.

A check is a function without parameters; its name is a sentence. Not a test file: torch must be carried before it is imported.
"""

import importlib.util
import inspect
import json
import sys
import traceback
import types


def main(path):
    spec = importlib.util.spec_from_file_location("checks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said = {}
    for name, check in list(vars(module).items()):
        if isinstance(check, types.FunctionType) and check.__module__ == "checks" and not inspect.signature(check).parameters:
            try:
                check()
                said[name] = ""
            except BaseException:
                said[name] = traceback.format_exc()
    print("CHECKS " + json.dumps(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
