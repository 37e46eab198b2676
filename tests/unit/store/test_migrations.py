"""Named queries, and how a database gets its schema."""

import asyncio
import contextlib
import re
import sqlite3
from importlib.resources import files

import pytest

from funclet.model.resources import ResourceKind, StackResource
from funclet.store import connection as connections
from funclet.store.connection import connect, create_private_file, load_queries, migrate, split_statements
from funclet.store.protocol import StoreError, StoreUnavailable
from funclet.store.sqlite import SqliteStore


@pytest.fixture
def opened(tmp_path):
    create_private_file(tmp_path / "x.db")
    with contextlib.closing(connect(tmp_path / "x.db", synchronous="NORMAL")) as connection:
        yield connection


def applied(connection):
    return [name for (name,) in connection.execute("SELECT name FROM migration ORDER BY name")]


def test_a_new_database_gets_every_migration_once(opened):
    migrate(opened, load_queries())
    migrate(opened, load_queries())

    names = {file.name for file in files("funclet.store").joinpath("migrations").iterdir()}
    assert applied(opened) == sorted(name for name in names if name[0].isdigit())


def test_each_family_has_its_own_files(opened):
    migrate(opened, load_queries(), family="logs")

    assert applied(opened) == ["logs_0001_initial.pre.sql", "logs_0002_blocks.pre.sql"]


def test_a_database_that_is_newer_is_refused(tmp_path, opened):
    migrate(opened, load_queries())
    opened.execute("INSERT INTO migration (name) VALUES ('0099_far.pre.sql'), ('0099_far.post.sql')")

    with pytest.raises(StoreError, match=r"newer version of Funclet \(it has 0099_far.post.sql\)"):
        SqliteStore.open(tmp_path / "x.db")


def test_the_safe_part_of_a_newer_schema_is_accepted(opened):
    migrate(opened, load_queries())
    opened.execute("INSERT INTO migration (name) VALUES ('0099_far.pre.sql')")

    migrate(opened, load_queries())


def test_a_migration_that_fails_leaves_nothing(opened, monkeypatch):
    texts = {"0001_a.pre.sql": "CREATE TABLE a (x);\nCREATE TABLE b (y);\nCREATE TABLE a (z);\n"}
    monkeypatch.setattr(connections, "_migrations", lambda family: texts)

    with pytest.raises(sqlite3.Error):
        migrate(opened, load_queries())

    assert applied(opened) == []
    assert opened.execute("SELECT count(*) FROM sqlite_schema WHERE name IN ('a', 'b')").fetchone() == (0,)


def test_projects_get_the_sums_of_what_was_used_before_they_had_rows_of_their_own(opened, monkeypatch):
    everything = connections._migrations("")
    added = "0071_usage_of_projects.pre.sql"
    monkeypatch.setattr(connections, "_migrations", lambda family: {k: v for k, v in everything.items() if k < added})
    migrate(opened, load_queries())
    for function_id, version, runs, most_ms, instances in (
        ("f-1", "v1", 2, 9, 1),
        ("f-1", "v2", 3, 4, 2),
        ("f-2", "v1", 0, 0, 3),
    ):
        values = [
            function_id,
            version,
            60,
            120,
            runs,
            runs,
            0,
            0,
            0,
            0,
            1.0,
            most_ms,
            most_ms,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            instances,
            0,
        ]
        opened.execute(load_queries()["add_usage"], ["p", *values])
    monkeypatch.undo()

    migrate(opened, load_queries())

    wanted = {"function_id": "p", "version": "", "span_s": 60, "since": 0, "until": 999}
    ((begins_at, reports, runs, *rest),) = opened.execute(load_queries()["usage_of_function"], wanted).fetchall()
    assert (begins_at, reports, runs, rest[5:7], rest[-2]) == (120, 5, 5, [9.0, 4.0], 6)


def test_an_application_of_an_older_server_keeps_its_functions(tmp_path, monkeypatch):
    path, real = tmp_path / "old.db", connections._migrations
    older = {name: text for name, text in real("").items() if name < "0110"}
    document = (
        '{"application_id": "a", "project_id": "p", "name": "shop", "template_id": "t", "created_at": 1.5,'
        ' "functions": [{"function_id": "f", "package": "default", "name": "shop-page"}]}'
    )
    create_private_file(path)
    with contextlib.closing(connect(path, synchronous="NORMAL")) as connection:
        monkeypatch.setattr(connections, "_migrations", lambda family: older)
        migrate(connection, load_queries())
        connection.execute(
            "INSERT INTO application (application_id, project_id, name, document) VALUES ('a', 'p', 'shop', ?)",
            (document,),
        )
    monkeypatch.setattr(connections, "_migrations", real)

    store = SqliteStore.open(path)
    found = asyncio.run(read_application(store))

    made = StackResource(kind=ResourceKind.FUNCTION, logical_name="page", name="shop-page", resource_id="f")
    assert (found.name, found.created_at, list(found.resources)) == ("shop", 1.5, [made])


async def read_application(store):
    try:
        return await store.read(lambda tx: tx.applications.get("p", "a"))
    finally:
        await store.close()


def test_statements_are_split_where_they_end():
    table = "-- a; comment\nCREATE TABLE a (x TEXT DEFAULT ';');\n\n"
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\nSELECT 1;\nEND;\n"
    text = table + trigger + "-- end\n"

    assert list(split_statements(text)) == [table.rstrip("\n") + "\n", "\n" + trigger]


def test_half_a_statement_is_refused():
    with pytest.raises(StoreError, match="middle"):
        list(split_statements("CREATE TABLE a (\n"))


def test_every_query_fits_the_schema(tmp_path):
    """EXPLAIN compiles a query without running it."""
    queries = load_queries()
    create_private_file(tmp_path / "all.db")
    with contextlib.closing(connect(tmp_path / "all.db", synchronous="NORMAL")) as connection:
        migrate(connection, queries)
        migrate(connection, queries, family="logs")

        for name, statement in queries.items():
            values = dict.fromkeys(_parameters(statement)) or [None] * statement.count("?")
            connection.execute(f"EXPLAIN {statement}", values).fetchall()
            assert "*" not in statement.replace("count(*)", ""), name


def _parameters(statement):
    return re.findall(r":(\w+)", statement)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("due_ids", "COVERING INDEX submission_waiting"),
        ("next_due", "COVERING INDEX submission_waiting"),
        ("oldest_queued_at", "submission_waiting"),
        ("lanes", "COVERING INDEX submission_waiting"),
        ("discard_ids", "COVERING INDEX submission_waiting"),
        ("find_children", "submission_by_parent"),
        ("due_deliveries", "delivery_waiting"),
        ("next_due_delivery", "delivery_waiting"),
        ("list_deliveries_of_request", "delivery_by_request"),
        ("list_dead_letters", "dead_letter_by_project"),
        ("count_dead_letters", "dead_letter_by_project"),
        ("list_async_status_lines", "async_status_line_by_project"),
        ("forget_submissions", "submission_ended"),
        ("forget_dedup", "submission_dedup_by_age"),
        ("forget_status_lines", "async_status_line_by_age"),
        ("forget_deliveries", "delivery_ended"),
        ("forget_dead_letters", "dead_letter_by_age"),
        ("find_records", "submission_by_function"),
        ("find_traces", "trace_by_project"),
        ("find_traces_of_outcome", "trace_by_outcome"),
        ("find_traces_of_operation", "trace_by_operation"),
        ("find_traces_of_user", "trace_by_user"),
        ("find_dependencies", "MERGE (UNION ALL)"),
        ("find_dependencies", "COVERING INDEX dependency_by_change"),
        ("find_dependencies", "dependency_public"),
        ("count_records", "submission_by_function"),
        ("find_functions", "function_by_change"),
        ("count_functions", "function_by_change"),
        ("list_code_digests", "function_version_by_code"),
        ("list_sealed_versions", "function_version_by_secrets"),
        ("list_versions_in_the_clear", "function_version_by_secrets"),
    ],
)
def test_large_tables_are_read_by_an_index(opened, query, index):
    queries = load_queries()
    migrate(opened, queries)
    values = dict.fromkeys(_parameters(queries[query]))

    plan = opened.execute(f"EXPLAIN QUERY PLAN {queries[query]}", values).fetchall()

    details = " ".join(detail for *_, detail in plan)
    assert index in details
    # These order no more than the page that they found.
    assert "TEMP B-TREE" not in details or query in {"find_functions", "find_dependencies"}


def test_what_is_no_database_is_unavailable(tmp_path):
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to look at" * 100)

    with pytest.raises(StoreUnavailable, match=r"x\.db"):
        SqliteStore.open(tmp_path / "x.db")


def test_documents_of_older_and_newer_code_can_be_read(tmp_path):
    """A member that the code does not know is ignored; one that the document lacks takes its default."""

    async def read_changed():
        store = SqliteStore.open(tmp_path / "x.db")
        try:
            return await store.read(lambda tx: tx.functions.get("p", "default", "hello", "latest"))
        finally:
            await store.close()

    asyncio.run(read_changed())
    document = (
        '{"project_id":"p","region":"r","package":"default","name":"hello","function_id":"f","version":"latest",'
        '"settings":{"runtime":"Python3.9","handler":"a.b","timeout_s":3,"memory_mib":128,"of_tomorrow":[1]},'
        '"code":{"digest":"","size":0,"code_type":"inline"},"modified_at":1.0,"also_of_tomorrow":null}'
    )
    with contextlib.closing(connect(tmp_path / "x.db", synchronous="NORMAL")) as connection:
        connection.execute(
            "INSERT INTO function (function_id, project_id, package, name, modified_at)"
            " VALUES ('f', 'p', 'default', 'hello', 1.0)"
        )
        connection.execute("INSERT INTO function_version VALUES (1, 'f', 'latest', 'p', '', 0, ?, 0)", (document,))

    version = asyncio.run(read_changed())

    assert (version.settings.handler, version.settings.concurrent_num, version.revision) == ("a.b", 1, 1)
