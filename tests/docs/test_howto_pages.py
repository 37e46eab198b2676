"""The how-to pages are run: every `sh` block behind the mark `<!-- tested -->`, in the order of the page."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.markdown import fenced_blocks
from tests.support.server import ServerProcess

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
# Pages and how many blocks they have, so that no mark gets lost. `clients` has a test of its own.
PAGES = {
    "applications": 1,
    "async": 1,
    "dependencies": 2,
    "destinations": 1,
    "export": 1,
    "fresh-state": 1,
    "metrics": 1,
    "permissions": 4,
    "reserved-instances": 3,
    "timers": 1,
}
# What a reader puts in, or has from elsewhere.
STAND_INS = {
    "pip install --target build pillow": "mkdir build && touch build/pillow.py",
    "fgs iam user create ann": "echo 'a-Pass-0f-anns' | fgs iam user create ann",
    '"ID"': '"\'$(fgs dependency show pillow -o json | sed -n \'s/^  "id": "\\(.*\\)",/\\1/p\')\'"',
    "cancel hello REQUEST_ID ": "cancel hello $(fgs invoke hello --async -d '{\"s\": 30}') --force ",
    "REQUEST_ID": "$(fgs invoke hello --async)",
    " URN ": " hello ",
}
SOURCE = "import time\n\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return 'done'\n"


@pytest.fixture(scope="module")
def fgs_server(scratch):
    """A server with the functions that the pages speak of."""
    folder = scratch / "howto"
    folder.mkdir()
    running = ServerProcess(folder).start()
    yield running
    running.stop()


@pytest.fixture
def shell(fgs_server, tmp_path):
    """Run a script with the profile that the server wrote, stopping at the first command that fails."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "fgs").write_text(f'#!/bin/sh\nexec {sys.executable} -m funclet "$@"\n')
    (programs / "fgs").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(fgs_server.home)}

    def run(script):
        return subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def functions(fgs_server):
    """Make `hello`, with a version and an alias, and `thumb`; the page begins with these."""
    client = fgs_server.client
    urns = [fgs_server.deploy(name, SOURCE) for name in ("hello", "thumb")]
    client.send("POST", f"/fgs/functions/{urns[0]}/versions", {"version": "v1"})
    client.send("POST", f"/fgs/functions/{urns[0]}/aliases", {"name": "live", "version": "v1"})
    yield
    for row in client.list_functions():
        client.send("DELETE", f"/fgs/functions/{row['func_urn'].removesuffix(':latest')}")


@pytest.mark.parametrize("page", PAGES)
def test_every_marked_block_of_a_page_does_what_it_says(page, shell, functions, tmp_path):
    blocks = fenced_blocks(HOWTO / f"{page}.md")
    marked = [block for block in blocks if block.is_tested]
    assert [block.language for block in marked] == ["sh"] * PAGES[page]
    for block in blocks:
        if block.language == "json" and "Statement" in "\n".join(block.lines):
            (tmp_path / "policy.json").write_text("\n".join(block.lines))

    for block in marked:
        script = "\n".join(block.lines)
        for words, others in STAND_INS.items():
            script = script.replace(words, others)
        done = shell(script)

        assert done.returncode == 0, f"{page}.md:{block.line}\n{done.stdout}"


def test_an_exported_function_is_described_as_the_page_shows(shell, functions, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "index.py").write_text(SOURCE)

    done = shell(
        "fgs deploy --name hello --runtime Python3.10 --code code; fgs function export hello;"
        f"{sys.executable} -m zipfile -e hello.zip ."
    )

    assert done.returncode == 0, done.stdout
    (shown,) = [block for block in fenced_blocks(HOWTO / "export.md") if block.language == "yaml"]
    assert (tmp_path / "hello.yaml").read_text().splitlines() == list(shown.lines)
