"""The carrier and the processes of the shim's own tests, for the stand-ins."""

from ..shim.conftest import HERE as SHIM
from ..shim.conftest import answers, cache, run, sentences, simulated  # noqa: F401  # fixtures by their names

CHECKS = SHIM.parent / "standins" / "checks"


def pytest_generate_tests(metafunc):
    """A test with `check` as an argument runs once for each check in its module's FILES."""
    if "check" in metafunc.fixturenames:
        names = [(file, name) for file in metafunc.module.FILES for name in sentences(CHECKS / f"{file}.py")]
        metafunc.parametrize("check", names, ids=[name for _, name in names])
