import pytest

from funclet.model.canary import version_by_rules
from funclet.model.function import Alias


def alias(*rules, combine="and"):
    strategy = {"v2": {"combine_type": combine, "rules": list(rules)}}
    return Alias(name="prod", version="v1", additional_strategy=strategy, modified_at=0.0)


def rule(param="X-User", value="ann", op="=", rule_type="Header"):
    return {"rule_type": rule_type, "param": param, "op": op, "value": value}


@pytest.mark.parametrize(
    ("rules", "combine", "headers", "expected"),
    [
        ([rule()], "and", {"x-user": "ann"}, "v2"),
        ([rule()], "and", {"x-user": "Ann"}, None),
        ([rule()], "and", {}, None),
        ([rule(op="in", value="ann, bob")], "and", {"x-user": "bob"}, "v2"),
        ([rule(op="in", value="ann,bob")], "and", {"x-user": "ann,bob"}, None),
        ([rule(), rule("X-Area", "eu")], "and", {"x-user": "ann"}, None),
        ([rule(), rule("X-Area", "eu")], "and", {"x-user": "ann", "x-area": "eu"}, "v2"),
        ([rule(), rule("X-Area", "eu")], "or", {"x-area": "eu"}, "v2"),
        ([rule("user", rule_type="Cookie")], "and", {"cookie": "a=1; user=ann"}, "v2"),
        ([rule("user", rule_type="cookie")], "and", {"cookie": "user=bob"}, None),
        ([], "and", {"x-user": "ann"}, None),
    ],
)
def test_which_requests_run_on_the_additional_version(rules, combine, headers, expected):
    assert version_by_rules(alias(*rules, combine=combine), headers) == expected


def test_without_a_strategy_the_weights_decide():
    assert version_by_rules(Alias(name="prod", version="v1", modified_at=0.0), {"x-user": "ann"}) is None
