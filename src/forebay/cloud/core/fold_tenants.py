"""Fold what operators say of tenants, prices and data into the state. Beside `state.py`, and called by it only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forebay.cloud.core import events as e
from forebay.cloud.core.tables import VersionKept
from forebay.cloud.core.tenant import Organisation, Price, Project, Quota

if TYPE_CHECKING:
    from forebay.cloud.core.state import State


def fold(state: State, event: e.Event) -> bool:
    """False for an event that is none of these."""
    t = state.t
    match event:
        case e.KeyMade(key=key):
            t.keys[key.id] = key
            state.keys_by_hash[key.secret_sha256] = key.id
        case e.KeyRevoked(key=key_id):
            t.keys[key_id] = replace(t.keys[key_id], revoked=True)
        case e.PriceSet(chip=chip, micro_per_card_s=micro, from_ns=from_ns):
            if from_ns <= event.at_ns:  # a plan comes into force by the price history alone (fold_use.py)
                t.prices[chip] = Price(chip=chip, micro_per_card_s=micro)
        case e.QuotaSet(organisation=organisation, chip=chip, cards=cards, borrow=borrow, reclaim_s=reclaim_s):
            if cards is None:
                t.quotas.pop(f"{organisation}/{chip}", None)
            else:
                t.quotas[f"{organisation}/{chip}"] = Quota(
                    organisation=organisation, chip=chip, cards=cards, borrow=borrow, reclaim_s=reclaim_s
                )
            state.rights.refresh()
        case e.OrganisationSet(organisation=name, cohort=cohort, weight=weight):
            t.organisations[name] = replace(t.organisations[name], cohort=cohort, weight=weight)
            state.rights.refresh()
        case e.ProjectSet(organisation=organisation, project=name, weight=weight):
            t.projects[f"{organisation}/{name}"] = replace(t.projects[f"{organisation}/{name}"], weight=weight)
        case e.MemberSet(member=member):
            t.members[f"{member.organisation}/{member.name}"] = member
        case e.MemberRemoved(organisation=organisation, name=name):
            t.members.pop(f"{organisation}/{name}", None)
            for key in [k for k in t.keys.values() if (k.organisation, k.member) == (organisation, name)]:
                t.keys[key.id] = replace(key, revoked=True)
        case e.BudgetSet(budget=budget):
            t.budgets[budget.name] = budget
        case e.BudgetLifted(organisation=organisation, project=name):
            t.budgets.pop(f"{organisation}/{name}", None)
        case e.BudgetWarned(organisation=organisation, project=name):
            budget = t.budgets[f"{organisation}/{name}"]
            t.budgets[budget.name] = replace(budget, warned=True)
        case e.IndexSet(chip=chip, compute=compute):
            t.indexes[chip] = compute
            state.measure()
        case e.VersionMade():
            t.versions[f"{event.organisation}/{event.version}"] = VersionKept(
                organisation=event.organisation,
                dataset=event.dataset,
                version=event.version,
                manifest=event.manifest,
                size_bytes=event.size_bytes,
                files=event.files,
                made_at_ns=event.at_ns,
            )
        case e.OrganisationMade(name=name, title=title):
            t.organisations[name] = Organisation(name=name, title=title)
        case e.ProjectMade(organisation=organisation, name=name):
            t.projects[f"{organisation}/{name}"] = Project(organisation=organisation, name=name)
        case e.CloudMade(currency=currency):
            t.currency = currency
        case _:
            return False
    return True
