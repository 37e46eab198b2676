"""From proven credentials to a caller with its permissions, as they are in the database now."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from funclet.model import policy as policies
from funclet.model.errors import ModelError
from funclet.model.identity import Agency, CustomPolicy, Principal, Project, User
from funclet.model.policy import Grants, Policy, Statement
from funclet.model.roles import BY_ID
from funclet.services.temporary import Claims
from funclet.store.protocol import Tx

# In the place of a policy that cannot be read any more: it might have denied something.
_UNREADABLE = Policy(name="unreadable", statements=(Statement(is_deny=True, actions=("*",)),))


def principal_of_user(tx: Tx, user_id: str, project_id: str) -> Principal | None:
    """Return the caller that acts as a user in a project; None if either is gone or the user is disabled."""
    user, project = tx.identities.user(user_id), project_of(tx, project_id)
    if user is None or project is None or not user.is_enabled or user.domain_id != project.domain_id:
        return None
    return Principal(project=project, user=user, grants=grants_of_user(tx, user, project_id))


def principal_of_claims(tx: Tx, claims: Claims, *, now: float) -> Principal | None:
    """Return the caller that acts with temporary credentials; None if there is no such user, agency or project now."""
    project = project_of(tx, claims.project_id)
    if project is None:
        return None
    limits = [[read_policy("session policy", claims.policy)]] if claims.policy is not None else []
    if claims.user_id:
        user = tx.identities.user(claims.user_id)
        if user is None or not user.is_enabled or user.domain_id != project.domain_id:
            return None
        grants = grants_of_user(tx, user, project.project_id, limits=limits)
        return Principal(project=project, user=user, grants=grants, is_temporary=True)
    agency = tx.iam.named(Agency, project.domain_id, claims.agency)
    if agency is None or not is_valid(agency, now=now) or agency.trust_domain_name != claims.trusted:
        return None
    user = User(user_id=agency.agency_id, name=agency.name, domain_id=agency.domain_id, password_hash="")
    grants = Grants(policies_of(tx, [agency.agency_id], project.project_id), limits=limits)
    return Principal(project=project, user=user, grants=grants, is_temporary=True)


def grants_of_user(tx: Tx, user: User, project_id: str, *, limits: Sequence[Sequence[Policy]] = ()) -> Grants:
    """Return what a user may do in a project, no more than each of `limits` allows."""
    found = () if user.is_owner else policies_of(tx, tx.iam.groups_of(user.user_id), project_id)
    return Grants(found, limits=limits, is_unlimited=user.is_owner)


def policies_of(tx: Tx, holder_ids: Iterable[str], project_id: str) -> Sequence[Policy]:
    """Return the policies that groups or an agency have in a project.

    What was granted in a project other than the first one of its domain says nothing about users and permissions,
    which are those of the whole domain: whoever could change them would be at home in every project.
    """
    grants = sorted({pair for holder_id in holder_ids for pair in tx.iam.grants(holder_id)})
    scopes = ("", project_id)
    found = [(scope, _policy(tx, role_id)) for role_id, scope in grants if scope in scopes]
    is_first = is_first_of_domain(tx, project_id)
    return [one if is_first or not scope else policies.confined(one) for scope, one in found if one is not None]


def is_first_of_domain(tx: Tx, project_id: str) -> bool:
    """Tell whether a project is the one that its domain began with."""
    projects = tx.identities.projects()
    domain_id = next((one.domain_id for one in projects if one.project_id == project_id), "")
    return any(one.project_id == project_id for one in [p for p in projects if p.domain_id == domain_id][:1])


def project_of(tx: Tx, project_id: str) -> Project | None:
    """Return a project by its id."""
    return next((project for project in tx.identities.projects() if project.project_id == project_id), None)


def is_valid(agency: Agency, *, now: float) -> bool:
    """Tell whether an agency has not expired."""
    return agency.expires_at is None or agency.expires_at > now


def read_policy(name: str, document: Mapping[str, Any]) -> Policy:
    """Return a stored policy; one that denies everything if this server cannot read it."""
    try:
        return policies.parse(name, dict(document))
    except ModelError:
        return _UNREADABLE


def _policy(tx: Tx, role_id: str) -> Policy | None:
    role = BY_ID.get(role_id)
    if role is not None:
        return role.policy
    custom = tx.iam.get(CustomPolicy, role_id)
    return read_policy(custom.name, custom.document) if custom else None
