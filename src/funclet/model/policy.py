"""Policies: what they may say, and what follows from several of them. Start with `Grants.allows`.

The language is that of the cloud: statements that allow or deny actions, perhaps only on some resources and only
under conditions. A matching Deny wins, else a matching Allow is needed, else the answer is no.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

from funclet.model.errors import ModelError

VERSION = "1.1"
MAX_STATEMENTS = 100
MAX_ENTRIES = 200
"""Of actions or resources of one statement, of conditions, and of values of one condition."""
MAX_ENTRY_LENGTH = 512
MAX_REMEMBERED = 4096

TIME_KEY, ADDRESS_KEY, USER_KEY, RUNTIME_KEY = "g:CurrentTime", "g:SourceIp", "g:UserName", "functiongraph:Runtime"
ENTERPRISE_KEY, VPC_KEY = "g:EnterpriseProjectId", "functiongraph:VpcId"
CONDITION_KEYS = (TIME_KEY, ADDRESS_KEY, USER_KEY, RUNTIME_KEY, ENTERPRISE_KEY, VPC_KEY)
REQUEST_TAG, RESOURCE_TAG = "functiongraph:RequestTag/", "g:ResourceTag/"
"""What keys begin with that ask for a tag of the request, and of its function; the key of the tag follows."""
MAX_TAG_KEY_LENGTH = 128
Facts = Mapping[str, str]
"""Values of a request by keys of conditions."""

_ACTION_PARTS, _RESOURCE_PARTS = 3, 5
_IF_EXISTS = "IfExists"
_OF_ACCOUNT = ("iam:", "funclet:secretKey:")
# What is passed or assumed acts in the project where that is done.
_OF_PROJECT = frozenset({"iam:agencies:pass", "iam:agencies:assume"})
_PART = re.compile(r"[A-Za-z0-9_*-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One comparison; it holds if the value of the request matches any of its own."""

    operator: str
    """Without `IfExists`."""
    key: str
    values: tuple[str, ...]
    if_exists: bool = False
    """Whether it holds where the request has no such value."""

    def holds(self, context: Facts, *, is_deny: bool = False) -> bool:
        """Compare with what a request brought.

        Where it brought nothing, "is not X" is true for a Deny and false for an Allow: what is not known opens nothing.
        """
        value = context.get(self.key)
        negates, compare = OPERATORS[self.operator]
        if value is None:
            return self.if_exists or (negates and is_deny)
        return negates != any(compare(value, wanted) for wanted in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One rule of a policy."""

    is_deny: bool = False
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ()
    """Empty: all, and operations that have no resource too."""
    conditions: tuple[Condition, ...] = ()
    is_confined: bool = False
    """Whether it allows nothing that concerns the whole account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A named list of statements; the order means nothing."""

    name: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What somebody wants to do."""

    actions: tuple[str, ...]
    """The names of the one action: the documented one first, then others that mean the same."""
    resources: tuple[str, ...] = ()
    """The resources that it touches, each under one name of it; empty for operations that have none, such as lists."""
    context: Facts = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """What a refusal names."""
        return f"{self.actions[0]} on {self.resources[0]}" if self.resources else self.actions[0]


class Grants:
    """What one caller may do. Immutable but for what it remembers of its own decisions."""

    __slots__ = ("_layers", "_remembered", "asks_function", "depends", "is_unlimited", "policies")

    def __init__(
        self, policies: Sequence[Policy] = (), *, limits: Sequence[Sequence[Policy]] = (), is_unlimited: bool = False
    ) -> None:
        """Take the policies of the caller.

        Args:
            policies: of all groups of the caller.
            limits: further lists of policies, each of which must allow as well.
            is_unlimited: whether everything is allowed that `limits` allow: the owner of the account.
        """
        self.policies = tuple(policies)
        self.is_unlimited = is_unlimited and not limits
        """Whether nothing need be asked."""
        base: list[Sequence[Policy]] = [] if is_unlimited else [policies]
        self._layers = [[one for policy in layer for one in policy.statements] for layer in (*base, *limits)]
        self.depends = any(one.conditions for layer in self._layers for one in layer)
        """Whether decisions depend on more than action and resource."""
        self.asks_function = any(
            condition.key == ENTERPRISE_KEY or condition.key.startswith(RESOURCE_TAG)
            for layer in self._layers
            for one in layer
            for condition in one.conditions
        )
        """Whether they depend on what is known of the function, beyond its name."""
        self._remembered: dict[tuple[str, str], bool] = {}

    def allows(self, access: Access) -> bool:
        """Decide: any matching Deny refuses; else any matching Allow permits; else no."""
        return self.is_unlimited or all(_allows(layer, access) for layer in self._layers)

    def remembered(self, action: str, subject: str) -> bool | None:
        """Return what was decided for an action on a subject; None if it is not known."""
        return self._remembered.get((action, subject))

    def remember(self, action: str, subject: str, *, is_allowed: bool) -> None:
        """Keep a decision, unless it depends on more than these two."""
        if self.depends:
            return
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[action, subject] = is_allowed


NOTHING = Grants()
"""Of a caller without any permission."""
EVERYTHING = Grants(is_unlimited=True)
"""Of the owner of the account."""


def _allows(statements: Iterable[Statement], access: Access) -> bool:
    is_allowed = False
    for statement in statements:
        if _applies(statement, access):
            if statement.is_deny:
                return False
            is_allowed = True
    return is_allowed


def _applies(statement: Statement, access: Access) -> bool:
    return (
        not (statement.is_confined and is_of_account(access.actions[0]))
        and any(action_matches(pattern, name) for pattern in statement.actions for name in access.actions)
        and _covers(statement.resources, access.resources)
        and all(condition.holds(access.context, is_deny=statement.is_deny) for condition in statement.conditions)
    )


def is_of_account(action: str) -> bool:
    """Tell whether an action concerns users, permissions or the keys of the whole server, whatever project asks."""
    return action.startswith(_OF_ACCOUNT) and action not in _OF_PROJECT


def confined(policy: Policy) -> Policy:
    """Return a policy without what it allows for the whole account; what it denies stays."""
    statements = tuple(replace(one, is_confined=not one.is_deny) for one in policy.statements)
    return replace(policy, statements=statements)


def _covers(patterns: Sequence[str], resources: Sequence[str]) -> bool:
    if not patterns:
        return True
    return any(resource_matches(pattern, resource) for pattern in patterns for resource in resources)


def glob(pattern: str, text: str) -> bool:
    """Tell whether `text` matches `pattern`, in which `*` stands for any characters. No pattern makes it slow."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def action_matches(pattern: str, action: str) -> bool:
    """Compare part by part, without regard to case."""
    parts, wanted = pattern.lower().split(":"), action.lower().split(":")
    return pattern == "*" or (len(parts) == len(wanted) and all(map(glob, parts, wanted)))


def resource_matches(pattern: str, resource: str) -> bool:
    """Compare part by part; only the last one, the name, has regard to case."""
    parts, wanted = pattern.split(":", _RESOURCE_PARTS - 1), resource.split(":", _RESOURCE_PARTS - 1)
    if pattern == "*":
        return True
    if len(parts) != len(wanted):
        return False
    *heads, name = parts
    *wanted_heads, wanted_name = wanted
    return glob(name, wanted_name) and all(
        glob(head.lower(), wanted_head.lower()) for head, wanted_head in zip(heads, wanted_heads, strict=True)
    )


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def compared(value: str, wanted: str) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return compared


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _date(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, str], bool]:
    def compared(value: str, wanted: str) -> bool:
        try:
            return compare(_moment(value), _moment(wanted))
        except ValueError:
            return False

    return compared


def _in_network(value: str, wanted: str) -> bool:
    try:
        return ip_address(value) in ip_network(wanted, strict=False)
    except ValueError:
        return False


def _equals(value: str, wanted: str) -> bool:
    return value == wanted


def _equals_in_any_case(value: str, wanted: str) -> bool:
    return value.lower() == wanted.lower()


def _like(value: str, wanted: str) -> bool:
    return glob(wanted, value)


OPERATORS: Mapping[str, tuple[bool, Callable[[str, str], bool]]] = {
    "StringEquals": (False, _equals),
    "StringNotEquals": (True, _equals),
    "StringEqualsIgnoreCase": (False, _equals_in_any_case),
    "StringNotEqualsIgnoreCase": (True, _equals_in_any_case),
    "StringLike": (False, _like),
    "StringNotLike": (True, _like),
    "NumericEquals": (False, _number(lambda a, b: a == b)),
    "NumericNotEquals": (True, _number(lambda a, b: a == b)),
    "NumericLessThan": (False, _number(lambda a, b: a < b)),
    "NumericLessThanEquals": (False, _number(lambda a, b: a <= b)),
    "NumericGreaterThan": (False, _number(lambda a, b: a > b)),
    "NumericGreaterThanEquals": (False, _number(lambda a, b: a >= b)),
    "DateLessThan": (False, _date(lambda a, b: a < b)),
    "DateLessThanEquals": (False, _date(lambda a, b: a <= b)),
    "DateGreaterThan": (False, _date(lambda a, b: a > b)),
    "DateGreaterThanEquals": (False, _date(lambda a, b: a >= b)),
    "Bool": (False, _equals_in_any_case),
    "IpAddress": (False, _in_network),
    "NotIpAddress": (True, _in_network),
}
"""Operator -> whether it is the opposite of its comparison, and the comparison of a request's value with a policy's."""


def parse(name: str, document: Any) -> Policy:
    """Read the document of a policy.

    Args:
        name: of the policy.
        document: the JSON value.

    Raises:
        ModelError: FSS.0400, which names the member that is wrong.
    """
    members = _members(document, "the policy", {"Version", "Statement", "Depends"})
    if members.get("Version") != VERSION:
        raise _wrong("Version", f'must be "{VERSION}"')
    statements = members.get("Statement")
    if not isinstance(statements, list) or not 1 <= len(statements) <= MAX_STATEMENTS:
        raise _wrong("Statement", f"must be an array of 1 to {MAX_STATEMENTS} statements")
    return Policy(name=name, statements=tuple(_statement(one, f"Statement[{n}]") for n, one in enumerate(statements)))


def warnings(policy: Policy, known: Iterable[str]) -> list[str]:
    """Return what is probably a mistake in a policy that may be stored: actions that match none of `known`."""
    names = tuple(known)
    patterns = dict.fromkeys(pattern for statement in policy.statements for pattern in statement.actions)
    return [
        f"the action '{pattern}' is unknown: nothing here asks for it"
        for pattern in patterns
        if not any(action_matches(pattern, name) for name in names)
    ]


def _statement(value: Any, at: str) -> Statement:
    members = _members(value, at, {"Effect", "Action", "Resource", "Condition"})
    effect = members.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise _wrong(f"{at}.Effect", 'must be "Allow" or "Deny"')
    actions = _texts(members.get("Action"), f"{at}.Action")
    for action in actions:
        parts = action.split(":")
        if action != "*" and (len(parts) != _ACTION_PARTS or not all(map(_PART.fullmatch, parts))):
            raise _wrong(f"{at}.Action", f"'{action[:80]}' is not of the form service:type:operation")
    resources = _texts(members["Resource"], f"{at}.Resource") if "Resource" in members else ()
    for resource in resources:
        parts = resource.split(":", _RESOURCE_PARTS - 1)
        if resource != "*" and (len(parts) != _RESOURCE_PARTS or not all(parts)):
            raise _wrong(f"{at}.Resource", f"'{resource[:80]}' is not of the form SERVICE:region:domain:type:name")
    conditions = _conditions(members.get("Condition", {}), f"{at}.Condition")
    return Statement(is_deny=effect == "Deny", actions=actions, resources=resources, conditions=conditions)


def _conditions(value: Any, at: str) -> tuple[Condition, ...]:
    found = []
    for operator, comparisons in _members(value, at, None).items():
        bare = operator.removesuffix(_IF_EXISTS)
        if bare not in OPERATORS:
            raise _wrong(f"{at}.{operator[:80]}", f"is no operator; known are {', '.join(OPERATORS)}")
        for key, values in _members(comparisons, f"{at}.{operator}", None).items():
            exact = exact_key(key)
            if not exact:
                raise _wrong(f"{at}.{operator}", f"'{key[:80]}' is no key; known are {SHOWN_KEYS}")
            texts = _texts(values, f"{at}.{operator}.{exact}")
            _check_values(bare, texts, f"{at}.{operator}.{exact}")
            found.append(Condition(operator=bare, key=exact, values=texts, if_exists=bare != operator))
    if len(found) > MAX_ENTRIES:
        raise _wrong(at, f"has more than {MAX_ENTRIES} comparisons")
    return tuple(found)


def exact_key(key: str) -> str:
    """Return a key of conditions as contexts have it, whatever the case of its letters; empty if it is none.

    The case of the key of a tag, after the slash, counts.
    """
    prefix, slash, tag = key.partition("/")
    for known in (REQUEST_TAG, RESOURCE_TAG):
        if (prefix + slash).lower() == known.lower():
            return known + tag if 1 <= len(tag) <= MAX_TAG_KEY_LENGTH else ""
    return next((known for known in CONDITION_KEYS if known.lower() == key.lower()), "")


SHOWN_KEYS = ", ".join((*CONDITION_KEYS, f"{REQUEST_TAG}<key>", f"{RESOURCE_TAG}<key>"))


def _check_values(operator: str, values: Sequence[str], at: str) -> None:
    """Refuse values that could never match: a Deny that never denies is worse than an error."""
    checks: tuple[tuple[str, Callable[[str], Any], str], ...] = (
        ("Date", _moment, "time like 2030-01-31T00:00:00Z"),
        ("Numeric", float, "number"),
        ("IpAddress", lambda text: ip_network(text, strict=False), "address or network like 10.0.0.0/8"),
    )
    for part, check, wanted in checks:
        for value in values if part in operator else ():
            try:
                check(value)
            except ValueError as error:
                raise _wrong(at, f"'{value[:80]}' is no {wanted}") from error


def _texts(value: Any, at: str) -> tuple[str, ...]:
    is_right = isinstance(value, list) and 1 <= len(value) <= MAX_ENTRIES
    if not is_right or not all(isinstance(one, str) and 1 <= len(one) <= MAX_ENTRY_LENGTH for one in value):
        raise _wrong(at, f"must be an array of 1 to {MAX_ENTRIES} texts of 1 to {MAX_ENTRY_LENGTH} characters")
    return tuple(value)


def _members(value: Any, at: str, known: set[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(at, "must be an object")
    unknown = sorted(value.keys() - known) if known is not None else []
    if unknown:
        raise _wrong(at, f"has the unknown member '{unknown[0][:80]}'")
    return value


def _wrong(at: str, what: str) -> ModelError:
    return ModelError("FSS.0400", f"The policy is wrong: {at} {what}.")
