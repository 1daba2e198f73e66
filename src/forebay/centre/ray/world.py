"""Ray, as far as we use it. An edge: everything here asks the cluster.

Asked:  how do we speak to a cluster whose head may be gone at any moment?
Answer: calls that may hang do so in threads. A launcher is asked by name again and again until it answers or Ray says that it is
        dead. When the head comes back without its memory, Ray ends this process; a new one is started by the engine.
Limits: this machine must be one of the cluster's (Ray's drivers need a raylet beside them); the head is the natural place.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from forebay.centre.home import Home
from forebay.centre.ray import group, view
from forebay.centre.ray.parcels import Sources
from forebay.centre.ray.view import Host, Place
from forebay.centre.settings import Settings
from forebay.errors import ForebayError, Unavailable

CONNECT_S = 3.0
PROBE_S = 2.0  # for a raylet to take a connection
STRIKES = 2  # connections in a row that came to nothing; one that is refused is enough


class Gone(Exception):
    """A launcher that will never answer."""


class World:
    """The cluster, and the centre that uses it."""

    def __init__(self, home: Path, told: Settings, tag: str, shim: str = "") -> None:
        """`shim`: where this machine has the carrier of CUDA's words."""
        self.home = home
        self.shim = shim
        self.told = told
        self.tag = tag
        self.centre = Home(home, base={}, trust_all=told.trust_all)
        self.sources = Sources()
        self.hosts: tuple[Host, ...] = ()
        self.places: dict[str, Place] = {}
        self.say_nodes: Callable[[], None] = lambda: None  # tell the engine now, and not only each second
        self._nudge = asyncio.Event()
        self._strikes: dict[str, int] = {}
        self._doubted: dict[str, str] = {}  # nodes that Ray still believes in, and we don't

    # That something may have changed.

    def nudge(self) -> None:
        """Wake all who wait for news of the centre's folder."""
        self._nudge.set()
        self._nudge = asyncio.Event()

    async def nudged(self, patience_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nudge.wait(), patience_s)

    # The cluster.

    def connect(self) -> None:
        """Raises Unavailable while there is nobody."""
        address = self.told.ray.address
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except (OSError, ValueError) as error:
            raise Unavailable("The head of the Ray cluster doesn't answer.", asked=address, found=str(error)) from None
        import ray

        try:
            mine = {"_node_ip_address": host} if _is_mine(host) else {}
            ray.init(address=address, namespace=group.NAMESPACE, log_to_driver=False, configure_logging=False, **mine)
        except Exception as error:
            raise Unavailable(
                "The Ray cluster could not be joined.",
                asked=address,
                found=str(error).strip().split("\n")[0],
                hint="run the agent on a machine of the cluster, with the cluster's versions of Ray and Python",
            ) from error

    async def look(self) -> None:
        """See which nodes there are."""
        found = view.remembering(await asyncio.to_thread(_hosts), self.hosts)
        doubted = self._doubted
        self.hosts = tuple(
            replace(host, alive=False, reason=doubted[host.id]) if host.alive and host.id in doubted else host for host in found
        )
        self.places = view.places(self.hosts, self.told.ray, pretend=self.told.pretend)

    async def is_there(self, host: Host) -> bool:
        """Whether a node's raylet takes connections. When it refuses, no actor of that node will ever answer again, and we need
        not wait until Ray has missed enough of its heartbeats: by its own settings that takes 15 seconds.
        """
        if not host.alive or host.id in self._doubted:
            return False
        if not host.port:
            return True
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host.ip, host.port), PROBE_S)
        except OSError as error:  # TimeoutError is one
            strikes = self._strikes[host.id] = self._strikes.get(host.id, 0) + 1
            if not isinstance(error, ConnectionRefusedError) and strikes < STRIKES:
                return True
            self._doubted[host.id] = "its raylet doesn't answer"
            await self.look()
            return False
        writer.close()
        self._strikes.pop(host.id, None)
        return True

    # Groups.

    async def find_group(self, name: str) -> Any | None:
        return await asyncio.to_thread(_group, name)

    async def group_state(self, name: str) -> tuple[str, str]:
        """Its state, and its scheduling's: CREATED, or PENDING and why."""
        return await asyncio.to_thread(_group_state, name)

    async def make_group(self, wanted: group.Group) -> Any:
        return await asyncio.to_thread(_make_group, wanted)

    async def remove_group(self, name: str) -> None:
        import ray

        found = await self.find_group(name)
        if found is not None:
            await asyncio.to_thread(ray.util.remove_placement_group, found)

    # Launchers.

    async def launcher(self, name: str) -> Any | None:
        import ray

        try:
            return await asyncio.to_thread(ray.get_actor, name, namespace=group.NAMESPACE)
        except ValueError:
            return None

    async def send_launcher(self, name: str, run: str, number: int, bundle: group.Bundle) -> Any:
        """The launcher of this name; it is made if there is none."""
        found = await self.find_group(group.group_name(self.tag, run))
        if found is None:
            raise Unavailable("The run's placement group is gone.", asked=run)
        return await asyncio.to_thread(_send_launcher, name, found, number, bundle)

    async def ask(
        self, launcher: Any, word: str, *arguments: Any, patience_s: float, there: Callable[[], Awaitable[bool]]
    ) -> Any:
        """What a launcher answers. Gone when Ray says that it is dead; or when it has been silent and isn't `there`."""
        import ray

        while True:
            answer = asyncio.ensure_future(_answer(getattr(launcher, word).remote(*arguments)))
            while not (await asyncio.wait({answer}, timeout=patience_s))[0]:
                if not await there():
                    answer.cancel()
                    raise Gone("it doesn't answer")
            try:
                return answer.result()
            except ray.exceptions.ActorUnavailableError:
                if not await there():
                    raise Gone("it can't be reached") from None
                await asyncio.sleep(1)
            except ray.exceptions.RayActorError as error:
                raise Gone(_first_line(error)) from None
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, ForebayError):
                    raise error.cause from None
                raise Unavailable("A step on the run's node failed.", asked=word, found=repr(error.cause)) from None

    async def end_launcher(self, launcher: Any) -> None:
        import ray

        await asyncio.to_thread(ray.kill, launcher)


async def _answer(reference: Any) -> Any:
    return await reference


def _hosts() -> tuple[Host, ...]:
    import ray
    from ray._private import state

    per_node = getattr(state, "available_resources_per_node", dict)
    return view.from_driver(ray.nodes(), per_node())


def _group(name: str) -> Any | None:
    import ray

    try:
        return ray.util.get_placement_group(name)
    except ValueError:
        return None


def _group_state(name: str) -> tuple[str, str]:
    import ray

    found = _group(name)
    if found is None:
        return "REMOVED", ""
    told = ray.util.placement_group_table(found)
    return str(told["state"]), str(told.get("stats", {}).get("scheduling_state", ""))


def _make_group(wanted: group.Group) -> Any:
    import ray

    more: dict[str, Any] = {}
    if any(bundle.labels for bundle in wanted.bundles):
        more["bundle_label_selector"] = [dict(bundle.labels) for bundle in wanted.bundles]
    return ray.util.placement_group(
        [bundle.resources for bundle in wanted.bundles], strategy=wanted.strategy, name=wanted.name, lifetime="detached", **more
    )


def _send_launcher(name: str, found: Any, number: int, bundle: group.Bundle) -> Any:
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from forebay.centre.ray import launcher

    ray.cloudpickle.register_pickle_by_value(launcher)
    actor = ray.remote(launcher.Launcher)
    options: dict[str, Any] = {
        **bundle.options,
        "name": name,
        "namespace": group.NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": 0,
        "scheduling_strategy": PlacementGroupSchedulingStrategy(found, placement_group_bundle_index=number),
    }
    return actor.options(**options).remote(name, group.NAMESPACE)


def _is_mine(host: str) -> bool:
    """Whether an address is one of this machine's."""
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    """What Ray says about a dead actor, without the particulars."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "died because" in line or "was killed" in line), lines[0] if lines else "")
