"""What every store must keep: rows, identities and transactions.

Written against the protocols; `conftest.py` lists the stores.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from funclet.model.function import Code, Settings
from funclet.model.identity import AccessKey, Project, ProjectState, Token, User
from funclet.model.trigger import TriggerStatus
from funclet.store.protocol import (
    Duplicate,
    FunctionFilter,
    StoreError,
    StoreUnavailable,
    Tx,
)
from funclet.store.queue_protocol import Settlement
from funclet.store.sqlite import SqliteStore
from tests.support.store import (
    FUNCTION_ID,
    ReadElsewhere,
    a_submission,
    a_trigger,
    a_version,
    an_alias,
    an_async_config,
    due,
    records,
)

# Functions


def test_a_function_comes_back_as_it_was_stored(db):
    version = a_version(
        version_description="é\u0000",
        settings=Settings(
            runtime="Python3.9",
            handler="index.handler",
            timeout_s=259_200,
            memory_mib=128,
            user_data='{"k": "ü"}',
            echoed={"func_vpc": None, "network": {"big": 10**30, "list": [1, 2.5, True]}},
        ),
        revision=7,
        modified_at=1773742402.123,
    )

    db.write(lambda tx: tx.functions.add(version))

    assert db.read(lambda tx: tx.functions.get("p1", "default", "hello", "latest")) == version


def test_what_does_not_exist_is_none(db):
    db.write(lambda tx: tx.functions.add(a_version()))

    assert db.read(lambda tx: tx.functions.get("p1", "default", "hello", "v1")) is None
    assert db.read(lambda tx: tx.functions.get("p1", "default", "other", "latest")) is None
    assert db.read(lambda tx: tx.functions.get("p1", "other", "hello", "latest")) is None


def test_a_name_is_unique_in_a_project_across_packages(db):
    db.write(lambda tx: tx.functions.add(a_version()))

    with pytest.raises(Duplicate, match="hello"):
        db.write(lambda tx: tx.functions.add(a_version(package="other", function_id="another")))

    assert db.read(lambda tx: tx.functions.totals("p1")) == (1, 100)


def test_projects_do_not_see_each_other(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.functions.add(a_version(project_id="p2", revision=2)))
    db.write(lambda tx: tx.triggers.put(a_trigger()))

    assert db.read(lambda tx: tx.functions.get("p2", "default", "hello", "latest")).revision == 2
    assert db.read(lambda tx: tx.functions.exists("p1", "default", "hello"))
    assert not db.read(lambda tx: tx.functions.exists("p3", "default", "hello"))
    assert db.read(lambda tx: tx.functions.find(FunctionFilter(project_id="p3"))) == ([], 0)
    assert db.read(lambda tx: tx.functions.totals("p2")) == (1, 100)
    assert db.read(lambda tx: tx.functions.packages("p3")) == frozenset()
    assert db.read(lambda tx: tx.triggers.get("p2", "t1")) is None
    assert db.read(lambda tx: tx.triggers.of_project("p2", offset=0, limit=10)) == ([], 0)


def test_a_list_is_ordered_by_change_and_then_by_name(db):
    for name, modified_at in (("b", 1.0), ("a", 1.0), ("c", 5.0)):
        db.write(lambda tx, n=name, m=modified_at: tx.functions.add(a_version(n, modified_at=m)))
    db.write(lambda tx: tx.functions.replace_latest(a_version("b", modified_at=9.0)))

    found, count = db.read(lambda tx: tx.functions.find(FunctionFilter(project_id="p1")))

    assert ([version.name for version in found], count) == (["b", "c", "a"], 3)


def test_a_page_comes_with_the_count_of_all_matches(db):
    for number in range(5):
        db.write(lambda tx, n=number: tx.functions.add(a_version(f"f{n}", modified_at=float(n))))

    found, count = db.read(lambda tx: tx.functions.find(FunctionFilter(project_id="p1", offset=1, limit=2)))

    assert ([version.name for version in found], count) == (["f3", "f2"], 5)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"package": "web"}, {"shop_web"}),
        ({"name_part": "shop"}, {"shop_web", "shop-db"}),
        ({"name_part": "SHOP"}, set()),
        ({"name_part": "p_w"}, {"shop_web"}),
        ({"name_part": "%"}, set()),
        ({"name_part": "shop", "package": "default"}, {"shop-db"}),
    ],
)
def test_filters_take_text_as_it_is(db, wanted, names):
    db.write(lambda tx: tx.functions.add(a_version("shop_web", package="web")))
    db.write(lambda tx: tx.functions.add(a_version("shop-db")))

    found, count = db.read(lambda tx: tx.functions.find(FunctionFilter(project_id="p1", **wanted)))

    assert {version.name for version in found} == names
    assert count == len(names)


def test_versions_list_latest_first_and_then_the_newest(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    for name in ("v1", "a", "v2"):
        db.write(lambda tx, n=name: tx.functions.add_version(a_version(version=n)))
    db.write(lambda tx: tx.functions.replace_latest(a_version(revision=2)))

    versions = db.read(lambda tx: tx.functions.versions("id-p1-hello"))

    assert [version.version for version in versions] == ["latest", "v2", "a", "v1"]
    assert versions[0].revision == 2


def test_a_version_is_published_once(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.functions.add_version(a_version(version="v1")))

    with pytest.raises(Duplicate, match="v1"):
        db.write(lambda tx: tx.functions.add_version(a_version(version="v1", revision=9)))


@pytest.mark.parametrize(("name", "version"), [("hello", "latest"), ("other", "v1")])
def test_only_latest_of_an_existing_function_is_replaced(db, name, version):
    db.write(lambda tx: tx.functions.add(a_version("other")))
    db.write(lambda tx: tx.functions.add_version(a_version("other", version="v1")))

    with pytest.raises(StoreError, match="can be replaced"):
        db.write(lambda tx: tx.functions.replace_latest(a_version(name, version=version)))


def test_totals_packages_and_digests_count_all_versions(db):
    db.write(lambda tx: tx.functions.add(a_version(package="web")))
    db.write(
        lambda tx: tx.functions.add_version(
            a_version(package="web", version="v1", code=Code(digest="cd" * 64, size=11, code_type="zip"))
        )
    )
    db.write(
        lambda tx: tx.functions.add(a_version("image", code=Code(digest="", size=0, code_type="Custom-Image-Swr")))
    )

    assert db.read(lambda tx: tx.functions.totals("p1")) == (2, 111)
    assert db.read(lambda tx: tx.functions.packages("p1")) == {"web", "default"}
    assert db.read(lambda tx: tx.functions.code_digests()) == {"ab" * 64, "cd" * 64}


def test_deleting_a_function_takes_all_that_is_its_own(db):
    for name in ("hello", "other"):
        db.write(lambda tx, n=name: tx.functions.add(a_version(n)))
        db.write(lambda tx, n=name: tx.functions.add_version(a_version(n, version="v1")))
        db.write(lambda tx, n=name: tx.aliases.put(f"id-p1-{n}", an_alias()))
        db.write(lambda tx, n=name: tx.triggers.put(a_trigger(n, function_id=f"id-p1-{n}")))

    db.write(lambda tx: tx.functions.delete("id-p1-hello"))

    assert db.read(lambda tx: tx.functions.versions("id-p1-hello")) == []
    assert db.read(lambda tx: tx.aliases.list("id-p1-hello")) == []
    assert [trigger.trigger_id for trigger in db.read(lambda tx: tx.triggers.of_type("TIMER"))] == ["other"]
    assert len(db.read(lambda tx: tx.functions.versions("id-p1-other"))) == 2
    assert len(db.read(lambda tx: tx.aliases.list("id-p1-other"))) == 1
    db.write(lambda tx: tx.functions.add(a_version(function_id="the name is free again")))


def test_deleting_a_function_takes_its_asynchronous_settings_and_not_what_waits(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.async_configs.put(FUNCTION_ID, "latest", an_async_config()))
    db.write(lambda tx: tx.queue.add(a_submission("waiting")))

    db.write(lambda tx: tx.functions.delete(FUNCTION_ID))

    assert db.read(lambda tx: tx.async_configs.of_function(FUNCTION_ID)) == {}
    assert [one.submission.request_id for one in db.read(due)] == ["waiting"]


def test_deleting_a_version_takes_its_asynchronous_settings(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.functions.add_version(a_version(version="v1")))
    for version in ("latest", "v1"):
        db.write(lambda tx, v=version: tx.async_configs.put(FUNCTION_ID, v, an_async_config(max_retries=2)))

    db.write(lambda tx: tx.functions.delete_version(FUNCTION_ID, "v1"))

    assert db.read(lambda tx: tx.async_configs.of_function(FUNCTION_ID)) == {"latest": an_async_config(max_retries=2)}


def test_deleting_a_version_takes_its_aliases_and_their_triggers(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    for version in ("v1", "v2"):
        db.write(lambda tx, v=version: tx.functions.add_version(a_version(version=v)))
        db.write(lambda tx, v=version: tx.aliases.put("id-p1-hello", an_alias(f"on-{v}", version=v)))
        db.write(lambda tx, v=version: tx.triggers.put(a_trigger(f"at-{v}", qualifier=v)))
        db.write(lambda tx, v=version: tx.triggers.put(a_trigger(f"at-alias-{v}", qualifier=f"!on-{v}")))

    db.write(lambda tx: tx.functions.delete_version("id-p1-hello", "v1"))

    assert [v.version for v in db.read(lambda tx: tx.functions.versions("id-p1-hello"))] == ["latest", "v2"]
    assert [alias.name for alias in db.read(lambda tx: tx.aliases.list("id-p1-hello"))] == ["on-v2"]
    triggers = db.read(lambda tx: tx.triggers.of_function("id-p1-hello"))
    assert [trigger.trigger_id for trigger in triggers] == ["at-v2", "at-alias-v2"]


# Aliases and triggers


def test_an_alias_is_replaced_by_name(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.aliases.put("id-p1-hello", an_alias("b")))
    db.write(lambda tx: tx.aliases.put("id-p1-hello", an_alias("a")))
    changed = an_alias("b", version="v2", additional_weights={"v1": 10}, additional_strategy={"v1": {"rules": [{}]}})

    db.write(lambda tx: tx.aliases.put("id-p1-hello", changed))

    assert db.read(lambda tx: tx.aliases.get("id-p1-hello", "b")) == changed
    assert [alias.name for alias in db.read(lambda tx: tx.aliases.list("id-p1-hello"))] == ["a", "b"]


def test_a_deleted_alias_is_gone_and_deleting_it_again_is_nothing(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.aliases.put("id-p1-hello", an_alias()))

    db.write(lambda tx: tx.aliases.delete("id-p1-hello", "prod"))
    db.write(lambda tx: tx.aliases.delete("id-p1-hello", "prod"))

    assert db.read(lambda tx: tx.aliases.get("id-p1-hello", "prod")) is None


def test_an_alias_needs_a_function(db):
    with pytest.raises(StoreError):
        db.write(lambda tx: tx.aliases.put("nobody", an_alias()))


def test_triggers_list_oldest_first_everywhere(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    for trigger_id, created_at in (("c", 3.0), ("a", 1.0), ("b", 1.0)):
        db.write(lambda tx, t=trigger_id, c=created_at: tx.triggers.put(a_trigger(t, created_at=c)))
    db.write(lambda tx: tx.triggers.put(a_trigger("d", created_at=0.5, type_code="APIG")))

    def ids(triggers):
        return [trigger.trigger_id for trigger in triggers]

    assert ids(db.read(lambda tx: tx.triggers.of_function("id-p1-hello"))) == ["d", "a", "b", "c"]
    page, count = db.read(lambda tx: tx.triggers.of_project("p1", offset=1, limit=2))
    assert (ids(page), count) == (["a", "b"], 4)
    assert ids(db.read(lambda tx: tx.triggers.of_type("TIMER"))) == ["a", "b", "c"]
    assert ids(db.read(lambda tx: tx.triggers.of_type("TIMER", "APIG"))) == ["d", "a", "b", "c"]
    assert db.read(lambda tx: tx.triggers.of_type()) == []


def test_a_trigger_is_replaced_by_its_id_and_deleted(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.triggers.put(a_trigger()))
    changed = a_trigger(status=TriggerStatus.DISABLED, event_data={"x": [1, None]}, updated_at=5.0)

    db.write(lambda tx: tx.triggers.put(changed))
    assert db.read(lambda tx: tx.triggers.get("p1", "t1")) == changed

    db.write(lambda tx: tx.triggers.delete("t1"))
    db.write(lambda tx: tx.triggers.delete("t1"))
    assert db.read(lambda tx: tx.triggers.get("p1", "t1")) is None


def test_a_trigger_id_of_another_project_is_not_taken_over(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.triggers.put(a_trigger()))

    with pytest.raises(Duplicate):
        db.write(lambda tx: tx.triggers.put(a_trigger(project_id="p2")))

    assert db.read(lambda tx: tx.triggers.get("p1", "t1")) == a_trigger()


def test_a_trigger_fires_once_per_position_and_only_forward(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.triggers.put(a_trigger()))
    assert db.read(lambda tx: tx.triggers.position("t1")) is None

    fired = [
        db.write(lambda tx, n=number, p=position: tx.triggers.fire("t1", p, a_submission(f"r{n}")))
        for number, position in enumerate((10.0, 10.0, 9.0, 11.0))
    ]

    assert fired == [True, False, False, True]
    assert db.read(lambda tx: tx.triggers.position("t1")) == 11.0
    assert db.read(records)[1] == 2


def test_a_request_that_was_submitted_before_does_not_move_the_trigger(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.triggers.put(a_trigger()))
    db.write(lambda tx: tx.queue.add(a_submission("r1")))

    assert db.write(lambda tx: tx.triggers.fire("t1", 10.0, a_submission("r1"))) is False

    assert db.read(lambda tx: tx.triggers.position("t1")) is None


def test_skipping_moves_the_position_forward_only_and_only_of_active_triggers(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.triggers.put(a_trigger()))
    db.write(lambda tx: tx.triggers.put(a_trigger("disabled", status=TriggerStatus.DISABLED)))

    for position in (10.0, 9.0):
        db.write(lambda tx, p=position: tx.triggers.skip("t1", p))
    db.write(lambda tx: tx.triggers.skip("disabled", 10.0))

    assert db.read(lambda tx: tx.triggers.position("t1")) == 10.0
    assert db.read(lambda tx: tx.triggers.position("disabled")) is None
    assert db.read(due) == []


def test_a_submission_runs_until_it_has_ended(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.queue.add(a_submission("r1")))
    assert db.read(lambda tx: (tx.triggers.is_running("r1"), tx.triggers.is_running("r2"))) == (True, False)

    settle = [Settlement(request=one, status="SUCCESS", at=1.0, attempts=1) for one in db.read(due)]
    db.write(lambda tx: tx.queue.settle_all(settle))

    assert db.read(lambda tx: tx.triggers.is_running("r1")) is False


@pytest.mark.parametrize("trigger_id", ["disabled", "gone"])
def test_a_trigger_that_is_disabled_or_gone_does_not_fire(db, trigger_id):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.triggers.put(a_trigger("disabled", status=TriggerStatus.DISABLED)))

    assert db.write(lambda tx: tx.triggers.fire(trigger_id, 10.0, a_submission())) is False

    assert db.read(lambda tx: tx.triggers.position(trigger_id)) is None
    assert db.read(due) == []


def test_seek_sets_the_position_and_put_keeps_it(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.write(lambda tx: tx.triggers.put(a_trigger()))

    db.write(lambda tx: tx.triggers.seek("t1", 50.0))
    db.write(lambda tx: tx.triggers.put(a_trigger(updated_at=2.0)))
    db.write(lambda tx: tx.triggers.seek("gone", 50.0))

    assert db.read(lambda tx: tx.triggers.position("t1")) == 50.0
    assert db.write(lambda tx: tx.triggers.fire("t1", 50.0, a_submission())) is False


# Identities


def test_projects_and_users_come_back(db):
    projects = [Project(project_id=n, name=f"r-{n}", domain_id="d", domain_name="D") for n in ("z", "a")]
    user = User(user_id="u1", name="admin", domain_id="d", password_hash="scrypt$00$11")
    for project in projects:
        db.write(lambda tx, p=project: tx.identities.add_project(p))
    db.write(lambda tx: tx.identities.add_user(user))

    assert db.read(lambda tx: tx.identities.projects()) == projects
    db.write(lambda tx: tx.identities.set_state("a", ProjectState.SUSPENDED, "unpaid"))
    restricted = replace(projects[1], state=ProjectState.SUSPENDED, state_reason="unpaid")
    assert db.read(lambda tx: tx.identities.projects()) == [projects[0], restricted]
    assert db.read(lambda tx: tx.identities.user("u1")) == user
    assert db.read(lambda tx: tx.identities.user_named("admin")) == user
    assert db.read(lambda tx: tx.identities.user_named("u1")) is None
    with pytest.raises(Duplicate):
        db.write(lambda tx: tx.identities.add_user(replace(user, user_id="u2")))
    with pytest.raises(Duplicate):
        db.write(lambda tx: tx.identities.add_project(projects[0]))


def test_access_keys_are_replaced_and_expire(db):
    permanent = AccessKey(access="A", secret="s", user_id="u", project_id="p")
    temporary = AccessKey(access="T", secret="s", user_id="u", project_id="p", security_token="x", expires_at=50.0)
    for key in (permanent, temporary, replace(permanent, secret="new")):
        db.write(lambda tx, k=key: tx.identities.add_access_key(k))
    assert db.read(lambda tx: tx.identities.access_key("T")) == temporary

    db.write(lambda tx: tx.identities.forget_expired(now=50.0))

    assert db.read(lambda tx: tx.identities.access_key("A")).secret == "new"
    assert db.read(lambda tx: tx.identities.access_key("T")) is None


def test_tokens_expire(db):
    for digest, expires_at in (("old", 50.0), ("new", 51.0)):
        token = Token(digest=digest, user_id="u", project_id="p", issued_at=1.0, expires_at=expires_at)
        db.write(lambda tx, t=token: tx.identities.add_token(t))

    db.write(lambda tx: tx.identities.forget_expired(now=50.0))

    assert db.read(lambda tx: tx.identities.token("old")) is None
    assert db.read(lambda tx: tx.identities.token("new")).expires_at == 51.0


# Transactions


def test_a_piece_of_work_that_raises_is_undone_alone(db):
    def half_done(tx: Tx) -> None:
        tx.queue.add(a_submission("undone"))
        raise ZeroDivisionError

    results = db.together(
        lambda tx: tx.queue.add(a_submission("before")),
        half_done,
        lambda tx: tx.queue.add(a_submission("before")),
        lambda tx: tx.queue.add(a_submission("after")),
    )

    assert results[0] is None
    assert isinstance(results[1], ZeroDivisionError)
    assert isinstance(results[2], Duplicate)
    assert results[3] is None
    assert {record.request_id for record in db.read(records)[0]} == {"before", "after"}


def test_work_sees_what_it_and_earlier_work_changed(db):
    results = db.together(
        lambda tx: tx.queue.add(a_submission("a")),
        lambda tx: (tx.queue.add(a_submission("b")), len(due(tx)))[1],
    )

    assert results == [None, 2]


def test_many_writers_share_commits(db):
    if not isinstance(db.store, SqliteStore | ReadElsewhere):
        pytest.fail("tell this test how the new store counts its commits")
    commits = db.store.statistics.commits

    db.together(*(lambda tx, n=n: tx.queue.add(a_submission(f"r{n}")) for n in range(640)))

    assert db.store.statistics.commits - commits <= 64
    assert db.read(records)[1] == 640


def test_a_read_sees_every_finished_write_and_many_run_at_once(db):
    async def write_and_read(number: int) -> int:
        await db.store.write(lambda tx: tx.queue.add(a_submission(f"r{number}")))
        return (await db.store.read(lambda tx: records(tx, request_ids=[f"r{number}"])))[1]

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(write_and_read(n) for n in range(100)))

    assert db.runner.run(all_of_them()) == [1] * 100


def test_a_read_cannot_change_anything(db):
    with pytest.raises(StoreError):
        db.read(lambda tx: tx.queue.add(a_submission()))

    assert db.read(due) == []


def test_what_a_read_raises_is_its_callers(db):
    with pytest.raises(KeyError):
        db.read(lambda _: {}["missing"])


def test_a_cancelled_caller_disturbs_nobody(db):
    async def cancel_one() -> None:
        cancelled = asyncio.ensure_future(db.store.write(lambda tx: tx.queue.add(a_submission("a"))))
        await asyncio.sleep(0)
        cancelled.cancel()
        await db.store.write(lambda tx: tx.queue.add(a_submission("b")))

    db.runner.run(cancel_one())

    assert db.read(lambda tx: records(tx, request_ids=["b"]))[1] == 1


def test_a_closed_store_is_unavailable(db):
    db.runner.run(db.store.close())
    db.runner.run(db.store.close())

    for call in (db.store.write, db.store.read):
        with pytest.raises(StoreUnavailable, match="closed"):
            db.runner.run(call(lambda tx: tx.queue.answers()))


def test_close_finishes_what_was_begun(db):
    async def close_at_once() -> list[Any]:
        writes = [
            asyncio.ensure_future(db.store.write(lambda tx, n=n: tx.queue.add(a_submission(f"r{n}"))))
            for n in range(50)
        ]
        await asyncio.sleep(0)
        await db.store.close()
        return await asyncio.gather(*writes)

    assert db.runner.run(close_at_once()) == [None] * 50
    db.reopen()
    assert db.read(records)[1] == 50
