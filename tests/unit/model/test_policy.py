"""Policies: what parses, what matches, and how statements add up."""

import fnmatch
import re
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.api.actions import known_actions, names_of
from funclet.model import policy as policies
from funclet.model.errors import ModelError
from funclet.model.policy import Access, Grants, Policy, Statement, glob

INVOKE, CODE = "functiongraph:function:invoke", "functiongraph:function:updateCode"
FOO, BAR = (f"FUNCTIONGRAPH:local-1:d1:function:default/{name}" for name in ("foo", "bar"))


def parsed(*statements):
    return policies.parse("p", {"Version": "1.1", "Statement": list(statements)})


def allow(*actions, **more):
    return {"Effect": "Allow", "Action": list(actions), **more}


def deny(*actions, **more):
    return {"Effect": "Deny", "Action": list(actions), **more}


def allows(statements, action, resource=None, **context):
    context = {name.replace("_", ":"): value for name, value in context.items()}
    access = Access(actions=names_of(action), resources=(resource,) if resource else (), context=context)
    return Grants([parsed(*statements)]).allows(access)


@pytest.mark.parametrize(
    ("statements", "action", "resource", "expected"),
    [
        ([allow(INVOKE)], INVOKE, FOO, True),
        ([allow(INVOKE)], CODE, FOO, False),
        ([allow("FunctionGraph:Function:INVOKE")], INVOKE, FOO, True),
        ([allow("functiongraph:*:*")], CODE, FOO, True),
        ([allow("*")], CODE, FOO, True),
        ([allow("functiongraph:*:list*")], "functiongraph:function:listVersion", FOO, True),
        ([allow("functiongraph:*:list*")], INVOKE, FOO, False),
        # The newer name of the cloud means the same.
        ([allow("functiongraph:function:updateFunctionCode")], CODE, FOO, True),
        ([allow("functiongraph:function:updateFunctionCode")], INVOKE, FOO, False),
        # A Deny wins, wherever it stands.
        ([allow("*"), deny(CODE)], CODE, FOO, False),
        ([deny(CODE), allow("*")], CODE, FOO, False),
        ([deny(CODE), allow("*")], INVOKE, FOO, True),
        ([deny("functiongraph:function:updateFunctionCode"), allow("*")], CODE, FOO, False),
        # Only Deny grants nothing.
        ([deny(CODE)], INVOKE, FOO, False),
        # Resources.
        ([allow(INVOKE, Resource=["FUNCTIONGRAPH:*:*:function:default/foo"])], INVOKE, FOO, True),
        ([allow(INVOKE, Resource=["functiongraph:*:*:FUNCTION:default/foo"])], INVOKE, FOO, True),
        ([allow(INVOKE, Resource=["FUNCTIONGRAPH:*:*:function:default/FOO"])], INVOKE, FOO, False),
        ([allow(INVOKE, Resource=["FUNCTIONGRAPH:*:*:function:default/foo"])], INVOKE, BAR, False),
        ([allow(INVOKE, Resource=["FUNCTIONGRAPH:*:*:function:default/*"])], INVOKE, BAR, True),
        ([allow(INVOKE, Resource=["FUNCTIONGRAPH:other:*:function:*"])], INVOKE, FOO, False),
        ([allow(INVOKE, Resource=["FUNCTIONGRAPH:*:*:trigger:*"])], INVOKE, FOO, False),
        ([allow(INVOKE, Resource=["*"])], INVOKE, FOO, True),
        ([allow("*"), deny("*", Resource=["FUNCTIONGRAPH:*:*:function:default/f*"])], INVOKE, FOO, False),
        ([allow("*"), deny("*", Resource=["FUNCTIONGRAPH:*:*:function:default/f*"])], INVOKE, BAR, True),
        # A list has no resource, so it needs a statement without.
        ([allow("functiongraph:function:list", Resource=["*"])], "functiongraph:function:list", None, False),
        ([allow("functiongraph:function:list")], "functiongraph:function:list", None, True),
    ],
)
def test_statements_decide(statements, action, resource, expected):
    assert allows(statements, action, resource) is expected


@pytest.mark.parametrize(
    ("operator", "key", "values", "context", "expected"),
    [
        ("StringEquals", "g:UserName", ["ann", "bob"], {"g_UserName": "bob"}, True),
        ("StringEquals", "g:username", ["ann"], {"g_UserName": "ann"}, True),
        ("StringEquals", "g:UserName", ["ann"], {"g_UserName": "Ann"}, False),
        ("StringEqualsIgnoreCase", "g:UserName", ["ann"], {"g_UserName": "Ann"}, True),
        ("StringNotEquals", "g:UserName", ["ann", "bob"], {"g_UserName": "bob"}, False),
        ("StringNotEquals", "g:UserName", ["ann", "bob"], {"g_UserName": "eve"}, True),
        ("StringLike", "functiongraph:Runtime", ["Python3.*"], {"functiongraph_Runtime": "Python3.10"}, True),
        ("StringLike", "functiongraph:Runtime", ["Python3.*"], {}, False),
        ("StringLikeIfExists", "functiongraph:Runtime", ["Python3.*"], {}, True),
        (
            "StringLikeIfExists",
            "functiongraph:Runtime",
            ["Python3.*"],
            {"functiongraph_Runtime": "Node.js20.15"},
            False,
        ),
        ("StringNotLike", "functiongraph:Runtime", ["Python3.*"], {}, False),
        ("IpAddress", "g:SourceIp", ["10.0.0.0/8", "::1"], {"g_SourceIp": "10.1.2.3"}, True),
        ("IpAddress", "g:SourceIp", ["10.0.0.0/8", "::1"], {"g_SourceIp": "::1"}, True),
        ("IpAddress", "g:SourceIp", ["10.0.0.0/8"], {"g_SourceIp": "11.0.0.1"}, False),
        ("IpAddress", "g:SourceIp", ["10.0.0.0/8"], {"g_SourceIp": ""}, False),
        ("NotIpAddress", "g:SourceIp", ["10.0.0.0/8"], {"g_SourceIp": "11.0.0.1"}, True),
        ("DateLessThan", "g:CurrentTime", ["2030-01-01T00:00:00Z"], {"g_CurrentTime": "2029-12-31T23:59:59Z"}, True),
        ("DateLessThan", "g:CurrentTime", ["2030-01-01T00:00:00Z"], {"g_CurrentTime": "2030-01-01T00:00:00Z"}, False),
        ("DateGreaterThanEquals", "g:CurrentTime", ["2030-01-01"], {"g_CurrentTime": "2030-01-01T00:00:00Z"}, True),
        ("NumericLessThan", "g:UserName", ["5"], {"g_UserName": "4.5"}, True),
        ("NumericLessThan", "g:UserName", ["5"], {"g_UserName": "ann"}, False),
        ("Bool", "g:UserName", ["true"], {"g_UserName": "True"}, True),
    ],
)
def test_conditions_decide(operator, key, values, context, expected):
    assert allows([allow("*", Condition={operator: {key: values}})], INVOKE, FOO, **context) is expected


def test_all_conditions_must_hold():
    condition = {"IpAddress": {"g:SourceIp": ["10.0.0.0/8"]}, "StringEquals": {"g:UserName": ["ann"]}}

    assert allows([allow("*", Condition=condition)], INVOKE, g_SourceIp="10.0.0.1", g_UserName="ann")
    assert not allows([allow("*", Condition=condition)], INVOKE, g_SourceIp="10.0.0.1", g_UserName="bob")


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ([], "the policy must be an object"),
        ({}, "Version"),
        ({"Version": "1.0", "Statement": [allow("*")]}, "Version"),
        ({"Version": "1.1"}, "Statement must be an array"),
        ({"Version": "1.1", "Statement": []}, "Statement"),
        ({"Version": "1.1", "Statement": [allow("*")] * 101}, "Statement"),
        # One of the samples of the cloud's documents: loose keys where statements belong.
        ({"Version": "1.1", "Statement": ["Effect", "Allow"]}, "Statement[0] must be an object"),
        ({"Version": "1.1", "Statement": [{"Action": ["*"]}]}, "Statement[0].Effect"),
        ({"Version": "1.1", "Statement": [{"Effect": "allow", "Action": ["*"]}]}, "Statement[0].Effect"),
        ({"Version": "1.1", "Statement": [{"Effect": "Allow"}]}, "Statement[0].Action"),
        ({"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": "*"}]}, "Statement[0].Action"),
        ({"Version": "1.1", "Statement": [allow()]}, "Statement[0].Action"),
        ({"Version": "1.1", "Statement": [allow("invoke")]}, "service:type:operation"),
        ({"Version": "1.1", "Statement": [allow("a:b:c:d")]}, "service:type:operation"),
        ({"Version": "1.1", "Statement": [allow("a:b:")]}, "service:type:operation"),
        ({"Version": "1.1", "Statement": [allow("*", Resource=["foo"])]}, "Statement[0].Resource"),
        ({"Version": "1.1", "Statement": [allow("*", Resource=[])]}, "Statement[0].Resource"),
        ({"Version": "1.1", "Statement": [allow("*", Resources=["*"])]}, "unknown member 'Resources'"),
        ({"Version": "1.1", "Statement": [allow("*", Condition=[])]}, "Condition must be an object"),
        ({"Version": "1.1", "Statement": [allow("*", Condition={"Equals": {}})]}, "Equals is no operator"),
        (
            {"Version": "1.1", "Statement": [allow("*", Condition={"StringEquals": {"g:Nothing": ["x"]}})]},
            "'g:Nothing' is no key",
        ),
        (
            {"Version": "1.1", "Statement": [allow("*", Condition={"IpAddress": {"g:SourceIp": ["10.0.0/8"]}})]},
            "no address or network",
        ),
        (
            {"Version": "1.1", "Statement": [allow("*", Condition={"DateLessThan": {"g:CurrentTime": ["soon"]}})]},
            "no time",
        ),
        (
            {"Version": "1.1", "Statement": [allow("*", Condition={"NumericEquals": {"g:UserName": ["one"]}})]},
            "no number",
        ),
        ({"Version": "1.1", "Statement": [allow("x" * 513)]}, "Statement[0].Action"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_place(document, named):
    with pytest.raises(ModelError) as caught:
        policies.parse("p", document)

    assert caught.value.code == "FSS.0400"
    assert named in caught.value.message


def test_an_action_that_nothing_asks_for_is_a_warning():
    """The other sample of the cloud's documents: a service that is spelled wrong."""
    policy = parsed(allow("funcitongraph:function:list", "functiongraph:*:get*"), deny("smn:topic:publish"))

    assert policies.warnings(policy, known_actions()) == [
        "the action 'funcitongraph:function:list' is unknown: nothing here asks for it"
    ]


def test_a_limit_must_allow_as_well():
    limit = parsed(allow(INVOKE))
    everything = Grants([parsed(allow("*"))], limits=[[limit]])
    owner = Grants(is_unlimited=True, limits=[[limit]])

    for grants in (everything, owner):
        assert not grants.is_unlimited
        assert grants.allows(Access(actions=(INVOKE,)))
        assert not grants.allows(Access(actions=(CODE,)))


def test_decisions_that_depend_on_more_are_not_remembered():
    plain = Grants([parsed(allow("*"))])
    conditional = Grants([parsed(allow("*", Condition={"IpAddress": {"g:SourceIp": ["10.0.0.0/8"]}}))])

    for grants in (plain, conditional):
        grants.remember(INVOKE, "f", is_allowed=True)

    assert plain.remembered(INVOKE, "f") is True
    assert plain.remembered(INVOKE, "g") is None
    assert conditional.remembered(INVOKE, "f") is None


def test_what_is_remembered_is_bounded():
    grants = Grants([parsed(allow("*"))])

    for number in range(policies.MAX_REMEMBERED + 10):
        grants.remember(INVOKE, str(number), is_allowed=True)

    assert len(grants._remembered) <= policies.MAX_REMEMBERED


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_the_wildcard_means_what_a_regular_expression_says(pattern, text):
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None

    assert glob(pattern, text) is expected
    assert glob(pattern, text) is fnmatch.fnmatchcase(text, pattern)


def test_no_pattern_is_slow():
    assert not glob("*a" * 2000 + "*b", "a" * 5000)


_ACTIONS = st.sampled_from(["a:x:one", "a:x:two", "a:*:one", "*", "a:y:*"])
_RESOURCES = st.sampled_from(["A:*:*:x:foo", "A:*:*:x:*", "A:r:*:y:bar", "*"])
_STATEMENTS = st.builds(
    Statement,
    is_deny=st.booleans(),
    actions=st.lists(_ACTIONS, min_size=1, max_size=2).map(tuple),
    resources=st.lists(_RESOURCES, max_size=2).map(tuple),
)
_POLICIES = st.lists(
    st.lists(_STATEMENTS, min_size=1, max_size=3).map(lambda found: Policy(name="p", statements=tuple(found))),
    max_size=3,
)
_ACCESSES = st.builds(
    Access,
    actions=st.sampled_from([("a:x:one",), ("a:x:two",), ("a:y:one",)]),
    resources=st.sampled_from([(), ("A:r:d:x:foo",), ("A:r:d:y:bar",)]),
)


@given(_POLICIES, _ACCESSES)
def test_neither_the_order_of_policies_nor_that_of_statements_matters(found, access):
    expected = Grants(found).allows(access)

    for order in permutations(found):
        turned = [Policy(name="p", statements=policy.statements[::-1]) for policy in order]
        assert Grants(turned).allows(access) is expected


@given(_POLICIES, _POLICIES, _ACCESSES)
def test_a_further_deny_never_opens_and_a_further_allow_never_closes(found, more, access):
    denies = [one for policy in more for one in policy.statements if one.is_deny]
    allowing = [one for policy in more for one in policy.statements if not one.is_deny]
    before = Grants(found).allows(access)

    assert Grants([*found, Policy(name="d", statements=tuple(denies))]).allows(access) <= before
    assert Grants([*found, Policy(name="a", statements=tuple(allowing))]).allows(access) >= before


@given(_POLICIES, _POLICIES, _ACCESSES)
def test_a_limit_never_opens(found, limit, access):
    assert Grants(found, limits=[limit]).allows(access) <= Grants(found).allows(access)


@given(_POLICIES, _ACCESSES)
def test_whoever_has_no_allow_may_do_nothing(found, access):
    denies = [Policy(name="p", statements=tuple(one for one in policy.statements if one.is_deny)) for policy in found]

    assert not Grants(denies).allows(access)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {"Version": st.just("1.1") | _JSON, "Statement": st.lists(_JSON, max_size=2) | _JSON},
        optional={"Depends": _JSON},
    )
    | _JSON
)
def test_whatever_the_document_is_there_is_a_policy_or_a_clear_error(document):
    try:
        found, code = policies.parse("p", document), ""
    except ModelError as error:
        found, code = None, error.code

    assert code == "FSS.0400" if found is None else found.statements
