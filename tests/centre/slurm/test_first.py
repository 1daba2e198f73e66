import pytest
from .conftest import *
@pytest.mark.slow
@pytest.mark.parametrize("centre", BOTH, indirect=True)
def test_first(centre):
    import time
    t=time.time()
    h = centre.launch("import os,time\nprint('hello', sorted(os.environ.items()))\n", on="a1,a2")
    while True:
        s=centre.engine.look(h); print(round(time.time()-t,2), s.phase, s.reason)
        if s.phase is Phase.ENDED: break
        if time.time()-t>30: break
        time.sleep(.1)
    print(s); print(centre.told_by_slurm()); print(centre.engine.nodes()[:1], centre.engine.states())
    assert s.outcome.value=="succeeded"
