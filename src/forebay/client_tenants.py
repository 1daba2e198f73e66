"""The SDK's calls about organisations: members, keys, quotas, budgets, the audit view. A part of `Client`."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from forebay.errors import BadInput
from forebay.units import parse_bytes_per_s, parse_money, parse_seconds

Body = dict[str, Any]


class Tenants:
    """What `Client` can say of tenants. It has `_get`, `_list` and `_write` of it."""

    def _get(self, path: str, **params: str | int) -> Body:
        raise NotImplementedError

    def _list(self, path: str, name: str, **params: str | int) -> list[Body]:
        raise NotImplementedError

    def _write(self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None) -> Body:
        raise NotImplementedError

    # Organisations and projects.

    def organisations(self) -> list[Body]:
        return self._list("/organisations", "organisations")

    def make_organisation(self, name: str, title: str = "") -> Body:
        return self._write("POST", "/organisations", {"name": name, "title": title})

    def set_organisation(self, name: str, *, cohort: str | None = None, weight: float | None = None) -> Body:
        """With whom it lends and borrows ("": with all who say nothing), and its weight. None: as it is."""
        return self._write("PUT", f"/organisations/{quoted(name)}", {"cohort": cohort, "weight": weight})

    def make_project(self, organisation: str, name: str) -> Body:
        return self._write("POST", f"/organisations/{quoted(organisation)}/projects", {"name": name})

    def set_project(self, project: str, *, weight: float) -> Body:
        """The weight of "organisation/project" beside the organisation's others."""
        organisation, own = split_project(project)
        return self._write("PUT", f"/organisations/{quoted(organisation)}/projects/{quoted(own)}", {"weight": weight})

    # Members and keys.

    def members(self, organisation: str) -> list[Body]:
        return self._list(f"/organisations/{quoted(organisation)}/members", "members")

    def set_member(self, organisation: str, name: str, *, role: str = "member", project: str | None = None) -> Body:
        """Make somebody a member, or give them another role: "owner", "member", "viewer". `project`: only in that one."""
        return self._write(
            "PUT", f"/organisations/{quoted(organisation)}/members/{quoted(name)}", {"role": role, "project": project}
        )

    def remove_member(self, organisation: str, name: str) -> Body:
        """They are no member any more, and none of their keys is good."""
        return self._write("DELETE", f"/organisations/{quoted(organisation)}/members/{quoted(name)}")

    def keys(self) -> list[Body]:
        return self._list("/keys", "keys")

    def make_key(
        self,
        project: str | None = None,
        *,
        role: str = "member",
        name: str = "",
        expires_in: str | None = None,
        member: str | None = None,
        scopes: Sequence[str] = (),
    ) -> tuple[Body, str]:
        """A new key for "organisation/project", or "organisation", and its secret. `scopes`: what it is good for, as
        "jobs:write"; none: all that its role may.

        The secret is made here; the cloud gets its hash, so nobody can show it again.
        """
        secret = "fb_" + secrets.token_urlsafe(24)
        organisation, own = split_home(project) if project else (None, "")
        body = {
            "secret_sha256": hashlib.sha256(secret.encode()).hexdigest(),
            "role": role,
            "organisation": organisation,
            "project": own or None,
            "member": member,
            "name": name,
            "scopes": list(scopes),
            "expires_in_s": parse_seconds(expires_in) if expires_in else None,
        }
        return self._write("POST", "/keys", body), secret

    def revoke_key(self, key_id: str) -> Body:
        return self._write("DELETE", f"/keys/{quoted(key_id)}")

    # Prices, quotas, budgets.

    def prices(self) -> Body:
        return self._get("/prices")

    def set_price(self, chip: str, per_card_second: str, *, from_ns: int = 0) -> Body:
        """`from_ns`: a moment to come, from which it is in force; 0: now."""
        body = {"micro_per_card_s": parse_money(per_card_second), "from_ns": from_ns}
        return self._write("PUT", f"/prices/{quoted(chip)}", body)

    def price_history(self, chip: str = "") -> Body:
        return self._get("/prices/history", chip=chip)

    def quotas(self) -> list[Body]:
        return self._list("/quotas", "quotas")

    def set_quota(
        self, organisation: str, chip: str, cards: int | None, *, borrow: int | None = 0, reclaim: str | float = 60.0
    ) -> Body:
        """Guarantee an organisation cards of a chip ("compute": effective compute over all). `borrow`: how many more it may
        take of what others leave idle, None: all of it. `reclaim`: within which time it has back what it lent. `cards` None:
        lift it.
        """
        reclaim_s = parse_seconds(reclaim) if isinstance(reclaim, str) else reclaim
        body = {"cards": cards, "borrow": borrow, "reclaim_s": reclaim_s}
        return self._write("PUT", f"/quotas/{quoted(organisation)}/{quoted(chip)}", body)

    def budgets(self) -> Body:
        return self._get("/budgets")

    def set_budget(self, of: str, limit: str, *, from_ns: int | None = None, warn_share: float = 0.8) -> Body:
        """What "organisation" or "organisation/project" may spend, from now on or from a time on."""
        body = {"limit_micro": parse_money(limit), "from_ns": from_ns, "warn_share": warn_share}
        return self._write("PUT", f"/budgets/{_home_path(of)}", body)

    def lift_budget(self, of: str) -> Body:
        return self._write("DELETE", f"/budgets/{_home_path(of)}")

    # Effective compute, and whose a centre is.

    def indexes(self) -> Mapping[str, float]:
        found: dict[str, float] = self._get("/indexes")["indexes"]
        return found

    def set_index(self, chip: str, compute: float, source: str = "") -> Body:
        """How much a card of the chip counts for, in cards of the reference chip."""
        return self._write("PUT", f"/indexes/{quoted(chip)}", {"compute": compute, "source": source})

    def set_centre_owner(self, centre: str, organisation: str | None, share: float = 1.0) -> Body:
        """Which organisation brought a centre, and which share of what others pay there is credited to it. None: nobody."""
        return self._write("PUT", f"/centres/{quoted(centre)}/owner", {"organisation": organisation, "share": share})

    def set_centre_rate(self, centre: str, rate: str | None) -> Body:
        """How fast data comes to a centre, as "1 GB/s" or "400 Mbit/s", until it is measured anew. None: nobody says."""
        return self._write("PUT", f"/centres/{quoted(centre)}/rate", {"bytes_per_s": parse_bytes_per_s(rate) if rate else None})

    # The audit view.

    def audit(
        self,
        *,
        by: str = "",
        kind: str = "",
        since_ns: int = 0,
        organisation: str = "",
        most: int = 100,
        follow: bool = False,
        poll_s: float = 1.0,
    ) -> Iterator[Body]:
        """Lines of the journal that the key may read: the newest `most`, oldest first; with `follow` those to come, too."""
        asked: dict[str, str | int] = {"who": by, "kind": kind, "since_ns": since_ns, "organisation": organisation}
        newest: list[Body] = []
        page = self._get("/audit", most=min(most, 1000), **asked)
        last = page["last"]
        while True:
            newest += page["lines"]
            if page["next"] is None or len(newest) >= most:
                break
            page = self._get("/audit", before=page["next"], most=min(most - len(newest), 1000), **asked)
        yield from reversed(newest[:most])
        while follow:
            page = self._get("/audit", after=last, most=1000, **asked)
            yield from page["lines"]
            if page["next"] is None:
                last = page["last"]
                time.sleep(poll_s)
            else:
                last = page["next"]


def quoted(name: str) -> str:
    """A name as one part of a path, whatever a person typed."""
    return quote(name, safe="") if name.strip(".") else "%00"  # "", "." and ".." would be parts of another path


def split_project(text: str) -> tuple[str, str]:
    """("acme", "research") for "acme/research"."""
    organisation, slash, project = text.partition("/")
    if not slash or not organisation or not project or "/" in project:
        raise BadInput("A project is named with its organisation.", asked=text, hint="acme/research")
    return organisation, project


def split_home(text: str) -> tuple[str, str]:
    """("acme", "research") for "acme/research", ("acme", "") for "acme"."""
    return split_project(text) if "/" in text else (text, "")


def _home_path(of: str) -> str:
    organisation, project = split_home(of)
    return quoted(organisation) + (f"/{quoted(project)}" if project else "")
