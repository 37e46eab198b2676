"""README and tutorials are run: every block behind the mark `<!-- tested -->`, against a real server."""

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from tests.support.console import Console, Places, differences, free_ports
from tests.support.markdown import fenced_blocks, steps
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "README.zh-CN.md", "docs/tutorial/first-steps.md", "docs/tutorial/first-steps.zh-CN.md")


@pytest.fixture
def places(scratch):
    """Folders and ports of the document's own."""
    folder = Path(tempfile.mkdtemp(prefix="docs-", dir=scratch))
    folder.chmod(0o755)
    port, gateway_port = free_ports(2)
    return Places(folder=folder, port=port, gateway_port=gateway_port)


@pytest.fixture
def console(places):
    """A terminal; what was started in it is stopped at the end."""
    opened = Console(places)
    yield opened
    opened.close()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_tested_block_prints_what_is_written(document, console, places):
    blocks = fenced_blocks(ROOT / document)
    assert sum(block.is_tested for block in blocks) >= 3, "the marks are gone"

    for i, block in enumerate(blocks):
        if block.is_tested and block.language == "console":
            for step in steps(block):
                check(console, places, step, f"{document}:{step.line}: $ {step.command}")
        elif block.is_tested:
            assert block.language == "python", f"{document}:{block.line}: '{block.language}' blocks cannot be tested"
            output = run_python(places, "\n".join(block.lines))
            wrong = differences("\n".join(blocks[i + 1].lines), output)
            assert not wrong, f"{document}:{block.line}\n" + "\n".join(wrong)


def check(console, places, step, name):
    """Run a command and compare; what reads the log is run again until the log is written."""
    expected = "\n".join(step.expected)
    lines = len(step.expected)

    def wrong():
        return differences(expected, places.as_documented(console.run(step.command, lines=lines)))

    if step.command.startswith("fgs logs "):
        found = []

        def agrees():
            found[:] = wrong()
            return not found

        try:
            eventually(agrees, within_s=10, every_s=0.2)
        except AssertionError:
            pytest.fail(f"{name}\n" + "\n".join(found))
    else:
        found = wrong()
        assert not found, f"{name}\n" + "\n".join(found)


def run_python(places, code):
    """Run a Python block with the credentials of the profile in the variables that it names."""
    profile = tomllib.loads((places.home / ".fgs" / "config.toml").read_text())["profiles"]["local"]
    variables = {
        "AK": profile["ak"],
        "SK": profile["sk"],
        "PROJECT": profile["project_id"],
        "FGS_ENDPOINT": profile["endpoint"],
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={"PATH": os.environ["PATH"], "HOME": str(places.home), **variables},
        cwd=places.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout


def test_a_document_ends_with_nothing_running(places):
    opened = Console(places)
    opened.run("sleep 600 &")
    pid = int(opened.run("echo $!"))

    opened.close()

    assert not Path("/proc", str(pid)).exists()
