"""What must hold for all Markdown files: links, words that have no place in them, equal translations."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from benchmarks import report
from benchmarks.__main__ import PARTS
from benchmarks.figures import Grade
from benchmarks.goals import verdicts
from benchmarks.promises import APART, BEGIN, END, rows
from tests.support.markdown import fenced_blocks, headings, links, prose

ROOT = Path(__file__).parents[2]
LEFT_OUT = {"node_modules", "build"}
"""Beside everything hidden: environments, caches."""


def is_ours(path):
    """Tell whether a path below the root is a part of the product."""
    return not any(part in LEFT_OUT or part.startswith(".") for part in path.relative_to(ROOT).parts)


PAGES = sorted(path for path in ROOT.rglob("*.md") if is_ours(path) and path.is_file())
TRANSLATIONS = (
    ("README.md", "README.zh-CN.md"),
    ("docs/tutorial/first-steps.md", "docs/tutorial/first-steps.zh-CN.md"),
)
# What a page may name: folders that every Linux has, paths of the API, and sites that are there to be read.
FOLDERS = {"bin", "dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var"}
API_PATHS = {"_apig", "smn", "v1", "v1.0", "v2", "v2.0", "v3", "v3.0", "v5"}
SITES = {
    "127.0.0.1",
    "click.palletsprojects.com",
    "github.com",
    "jcristharif.com",
    "keepachangelog.com",
    "login.example.com",
    "pyyaml.org",
    "s3.example.com",
    "semver.org",
    "vault.example.com",
    "www.openfaas.com",
    "www.standardwebhooks.com",
}
PATH = re.compile(r"(?<![\w.<>{}$*/:~-])/([\w.]+)/")
SITE = re.compile(r"https?://([\w.-]+)")


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def anchors(path):
    """Return the anchors of a page's headings, as forges make them."""
    found = set()
    for _, line in prose(path):
        if re.match(r"#{1,6} ", line):
            title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip()).lower()
            found.add(re.sub(r"[^\w\- ]", "", title).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_relative_link_resolves(page):
    broken = []
    for number, target in links(page):
        address, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", address):
            continue
        place = (page.parent / unquote(address)).resolve() if address else page
        is_there = place.exists() and place.is_relative_to(ROOT)
        if not is_there or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(f"{page.relative_to(ROOT)}:{number}: {target}")

    assert not broken


def foreign(text):
    """Return the folders and sites in a text that are those of one machine."""
    folders = {f"/{name}" for name in PATH.findall(text) if name not in FOLDERS | API_PATHS}
    return folders | {name for name in SITE.findall(text) if name not in SITES}


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_no_page_names_a_machine(page):
    assert not foreign(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", ["see /somewhere/main", "https://packages.example/simple", "(/builds/x)"])
def test_machines_are_noticed(text):
    assert foreign(text)


def test_the_readme_can_be_read_in_one_go():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize(("original", "translation"), TRANSLATIONS)
def test_a_translation_has_the_same_headings(original, translation):
    assert headings(ROOT / translation) == headings(ROOT / original)


@pytest.mark.parametrize(("original", "translation"), TRANSLATIONS)
def test_a_translation_has_the_same_blocks(original, translation):
    def tested(page):
        blocks = fenced_blocks(ROOT / page)
        return [(block.language, block.lines) for block in blocks if block.is_tested or block.language == "text"]

    assert tested(translation) == tested(original)


@pytest.mark.parametrize(("original", "translation"), TRANSLATIONS)
def test_a_translation_links_to_the_same_pages(original, translation):
    def targets(page):
        found = {target.partition("#")[0].replace(".zh-CN.md", ".md") for _, target in links(ROOT / page)}
        return found - {Path(original).name}

    assert targets(translation) == targets(original)


def test_generated_pages_are_up_to_date():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "settings.py"), "--check"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def promises():
    """Return the rows of all tables of the specification, and those of its table of speed."""
    before, _, rest = (ROOT / "SPECIFICATION.md").read_text(encoding="utf-8").partition(BEGIN)
    speed, _, after = rest.partition(END)

    def rows_of(text):
        found = [line for line in text.splitlines() if line.startswith("| ")]
        return [row for row in found if not row.startswith(("| What", "| Measure", "| ---"))]

    return rows_of(before + after), rows_of(speed)


def test_every_promise_names_a_test_or_a_benchmark_that_exists():
    tested, measured = promises()
    missing = []
    for row in tested:
        match = re.search(r"\[(test_\w+)\]\((tests/[\w/.]+)\) \|$", row)
        by_test = match and f"def {match[1]}(" in (ROOT / match[2]).read_text(encoding="utf-8")
        if not by_test and not row.endswith(" [make soak](tests/soak/__main__.py) |"):
            missing.append(row)
    for row in measured:
        match = re.search(r"\[(\w+)\]\((benchmarks/[\w.]+)\) \|$", row)
        if not match or match[1] not in {*PARTS, *APART} or not (ROOT / match[2]).is_file():
            missing.append(row)

    assert len(tested) > 30
    assert not missing


def test_the_specification_has_every_goal_and_calls_none_met_that_is_not():
    _, measured = promises()
    found = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in measured]
    states = {Grade.GOAL: "goal met", Grade.MUST: "met", Grade.MISSED: "not met yet"}

    assert [row[:4] + row[6:] for row in found] == [row[:4] + row[6:] for row in rows({})]
    for row, verdict in zip(found, verdicts({}), strict=True):
        if row[4] == "-":
            assert row[5] == "not measured yet", row
        elif row[4] not in (report.number(verdict.goal.must), report.number(verdict.goal.goal)):
            # Rounded to a bound itself, a figure may lie on either side of it.
            assert row[5] == states[verdict.goal.grade(float(row[4].replace(" ", "")))], row


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs" / "adr"
    listed = {target for _, target in links(folder / "README.md")}

    assert {path.name for path in folder.glob("0*.md")} <= listed
