"""One look at a site, for somebody who is about to join it. Changes nothing."""

from __future__ import annotations

from pathlib import Path

from forebay.centre.settings import Settings
from forebay.centre.slurm.engine import open_transport
from forebay.centre.slurm.survey import Survey, survey


def look(told: Settings, home: Path) -> Survey:
    """The nodes that Forebay would have, and the GRES of which a person has to say what they are. `home`: the centre's folder,
    which need not be there. Unavailable where Slurm doesn't answer.
    """
    transport, _ = open_transport(home, told)
    return survey(transport.site(), told.slurm, pretend=told.pretend)
