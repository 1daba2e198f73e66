"""Ask a Ray cluster's dashboard for its nodes. An edge: two small requests over HTTP.

Asked:  which nodes are there, and what of them is used, without a driver that weighs 100 MB?
Answer: `/api/v0/nodes?detail=1` has the nodes, what they have in all, their labels and whether they live; `/api/cluster_status`,
        which the autoscaler's monitor writes every few seconds, has what is used on each.
Limits: where the second has no figures a node (KubeRay's newer autoscaler, say), nobody knows what others hold while no run of
        ours goes on; the hand knows it as soon as one does.
Source: Ray 2.60, python/ray/dashboard/modules (state, reporter).
"""

from __future__ import annotations

import httpx

from forebay.centre.ray import view
from forebay.centre.ray.view import Host
from forebay.errors import Unavailable

TIMEOUT_S = 5.0
MOST_NODES = 10_000


class Dashboard:
    """The dashboard at one address."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._http: httpx.Client | None = None  # kept: making one costs more than both requests

    def ask(self) -> tuple[Host, ...]:
        """Raises Unavailable when there is nobody, or somebody else."""
        try:
            if self._http is None:
                self._http = httpx.Client(base_url=self._address.rstrip("/"), timeout=TIMEOUT_S, trust_env=False)
            nodes = self._http.get("/api/v0/nodes", params={"detail": "1", "limit": MOST_NODES})
            nodes.raise_for_status()
            status = self._http.get("/api/cluster_status")
            return view.from_dashboard(nodes.json(), status.json() if status.is_success else {})
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError) as error:
            found = str(error) or type(error).__name__
            raise Unavailable("Ray's dashboard doesn't answer.", asked=self._address, found=found) from None
