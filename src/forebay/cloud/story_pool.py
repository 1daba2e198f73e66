"""Tell what operators and owners asked for, and what became of centres, as sentences. Beside `story.py`, called by it only."""

from __future__ import annotations

from datetime import UTC, datetime

from forebay.cloud.core import events as e
from forebay.cloud.core.pool import place_name
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Budget, Key
from forebay.units import NS_PER_S, show_bytes, show_bytes_per_s, show_money, show_seconds


def tell(event: e.Event, state: State) -> str:
    """One line for people; empty for an event that is none of these."""
    return _tenants(event, state) or _pool(event, state)


def _tenants(event: e.Event, state: State) -> str:
    match event:
        case e.CloudMade():
            return f"the cloud was made: money in {event.currency}, Forebay {event.version}"
        case e.OrganisationMade(name=name, title=title):
            return f"made the organisation {name}" + (f", {title}" if title else "")
        case e.OrganisationSet():
            cohort = f"cohort {event.cohort}" if event.cohort else "the common cohort"
            return f"put {event.organisation} into {cohort}, with weight {event.weight:g}"
        case e.ProjectMade():
            return f"made the project {event.organisation}/{event.name}"
        case e.ProjectSet():
            return f"gave {event.organisation}/{event.project} the weight {event.weight:g}"
        case e.MemberSet(member=m):
            where = f"{m.organisation}/{m.project}" if m.project else m.organisation
            return f"made {m.name} {'an' if m.role.value[0] in 'aeiou' else 'a'} {m.role.value} of {where}"
        case e.MemberRemoved():
            return f"removed {event.name} from {event.organisation}; none of their keys is good any more"
        case e.KeyMade(key=key):
            return f"made the key {key.id}: {_key(key)}"
        case e.KeyRevoked(key=key_id):
            return f"revoked the key {key_id}"
        case e.PriceSet():
            when = f" from {_day(event.from_ns)} on" if event.from_ns else ""
            return f"set the price of {event.chip} to {show_money(event.micro_per_card_s, state.t.currency)} a card-second{when}"
        case e.QuotaSet():
            return _quota(event)
        case e.BudgetSet(budget=budget):
            return f"set a budget: {_budget(budget, state)}"
        case e.BudgetLifted():
            return f"lifted the budget of {f'{event.organisation}/{event.project}'.rstrip('/')}"
        case e.BudgetWarned():
            spent, limit = show_money(event.spent_micro), show_money(event.limit_micro, state.t.currency)
            return f"{f'{event.organisation}/{event.project}'.rstrip('/')} has spent {spent} of its budget of {limit}"
        case e.VersionMade():
            what = f"{event.files} files, {show_bytes(event.size_bytes)}"
            return f"brought version {event.version} of the data set {event.dataset}: {what}"
        case _:
            return ""


def _pool(event: e.Event, state: State) -> str:
    match event:
        case e.CentreMade():
            return f"made the centre {event.name}, which may join with a token"
        case e.TokenMade():
            return f"made a new token for the centre {event.centre}"
        case e.CentreJoined():
            return f"the agent of {event.centre} joined" + (f", Forebay {event.version}" if event.version else "")
        case e.CentreRevoked():
            return f"refused the agent of {event.centre}" + (", and gave up what runs there" if event.give_up else "")
        case e.CentreOwned():
            share = f"{event.share * 100:g} % of what others pay for its cards is theirs"
            return f"{event.centre} is {event.organisation}'s: {share}" if event.organisation else f"{event.centre} is nobody's"
        case e.CentreRateSet():
            rate = f"comes at {show_bytes_per_s(event.bytes_per_s)}" if event.bytes_per_s else "comes as fast as is usual"
            return f"said that data {rate} to {event.centre}"
        case e.IndexSet():
            source = f", by {event.source}" if event.source else ""
            return f"counts a card of {event.chip} as {event.compute:g} of the reference chip{source}"
        case e.IdleLimitsSet(limits=limits):
            back = f", and stopped after {show_seconds(limits.reclaim_s)}" if limits.reclaim_s is not None else ""
            return f"idle holders of cards are warned after {show_seconds(limits.warn_s)}{back}"
        case e.AgentSeen():
            return f"the agent of {event.centre} has the engine {event.engine}, and is Forebay {event.version}"
        case e.CentreAway():
            return f"nothing was heard of {event.centre} for {show_seconds(event.silent_s)}; it gets no new runs"
        case e.CentreBack():
            return f"{event.centre} is heard of again"
        case e.NodesSeen():
            cards = sum(len(node.cards) for node in event.nodes)
            return f"{event.centre} has {len(event.nodes)} nodes with {cards} cards"
        case e.NodeStatesSeen():
            told = ", ".join(f"{s.name} {s.condition.value}" for s in event.states[:5])
            more = f" and {len(event.states) - 5} more" if len(event.states) > 5 else ""
            return f"nodes of {event.centre} stand otherwise: {told}{more}"
        case e.Drained():
            return f"drained {place_name(event.centre, event.node, event.card)}" + (f": {event.reason}" if event.reason else "")
        case e.Undrained():
            return f"undrained {place_name(event.centre, event.node, event.card)}"
        case e.MaintenanceSet(window=w):
            return f"planned maintenance of {w.place} from {_day(w.from_ns)} to {_day(w.to_ns)}"
        case e.MaintenanceBegan():
            return (
                f"maintenance of {place_name(event.centre, event.node)} began: its cards count as down when runs have left them"
            )
        case e.MaintenanceOver():
            return f"maintenance of {place_name(event.centre, event.node)} is over"
        case e.MaintenanceLifted(window=window):
            return f"lifted the window {window}"
        case _:
            return ""


def _key(key: Key) -> str:
    where = f" of {key.organisation}" + (f"/{key.project}" if key.project else "") if key.organisation else ""
    whose = f", {key.member}'s" if key.member else ""
    scopes = f", for {', '.join(key.scopes)} only" if key.scopes else ""
    until = f", until {_day(key.expires_at_ns)}" if key.expires_at_ns is not None else ""
    return f"{key.role.value}{where}{whose}{scopes}{until}"


def _quota(event: e.QuotaSet) -> str:
    if event.cards is None:
        return f"lifted {event.organisation}'s quota of {event.chip}"
    more = "as many more as others leave idle" if event.borrow is None else f"{event.borrow} more"
    borrow = f", and may borrow {more}" if event.borrow != 0 else ""
    back = f"what it lent is back within {show_seconds(event.reclaim_s)}"
    return f"guaranteed {event.organisation} {event.cards} {event.chip}{borrow}; {back}"


def _budget(budget: Budget, state: State) -> str:
    limit = show_money(budget.limit_micro, state.t.currency)
    warned = f"a warning at {budget.warn_share * 100:g} %"
    return f"{budget.name.rstrip('/')} may spend {limit} from {_day(budget.from_ns)} on, {warned}"


def _day(ns: int) -> str:
    return datetime.fromtimestamp(ns / NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M UTC") if ns < 253402300800 * NS_PER_S else "never"
