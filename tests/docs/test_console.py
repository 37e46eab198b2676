"""The comparison of documented with real output, and the reading of Markdown: they must be able to say no."""

from pathlib import Path

import pytest

from tests.support.console import Places, differences
from tests.support.markdown import fenced_blocks, headings, links, steps

INVOCATION = (
    "status 200 · 15.0 ms · billed 16 ms · mem 6 MB/128 MB · cold · request 5a74a369-041d-4cbb-84ff-81399492c81c"
)


@pytest.mark.parametrize(
    ("documented", "real"),
    [
        (INVOCATION, INVOCATION.replace("15.0 ms", "7.1 ms").replace("16 ms", "8 ms").replace("mem 6", "mem 11")),
        ("request 5a74a369-041d-4cbb-84ff-81399492c81c", "request 00000000-0000-4000-8000-000000000000"),
        ("+ function hello  created  0.01 s", "\x1b[32m+ function hello  created  12.30 s\x1b[0m   "),
        ("2026-11-21T22:57:16.375Z Start", "2031-01-01T00:00:00.001Z Start"),
        ("digest: ae77e3858188 -> fdc05e368a35", "digest: 000000000000 -> 111111111111"),
        ("  access key 7001C15E337C3BDF446D\n  secret key f6kH-cTAR", "  access key AAAAAAAAAAAA\n  secret key x"),
        ("  isolation  full\nStop", "  isolation  rootless\n             'fgs doctor' says what is missing\nStop"),
        ("NAME  LAST_MODIFIED\nlive  2026-11-21 22:57:16", "NAME  LAST_MODIFIED\nlive  2026-12-01 02:07:06"),
        ('    x["name"]\n    ~^^^^^^^^\nKeyError', '    x["name"]\nKeyError'),
        ("line", "\nline\n\n"),
    ],
)
def test_what_changes_from_run_to_run_is_no_difference(documented, real):
    assert differences(documented, real) == []


@pytest.mark.parametrize(
    ("documented", "real"),
    [
        ("Hello, fg!", "Hello, gf!"),
        ("Hello, fg!", ""),
        ("", "unexpected"),
        (INVOCATION, INVOCATION.replace("200", "500")),
        (INVOCATION, INVOCATION.replace("cold", "warm")),
        (INVOCATION, INVOCATION.replace("/128 MB", "/256 MB")),
        ("published hello:v1", "published hello:v2"),
        ("url: http://127.0.0.1:7181/x", "url: http://127.0.0.1:7180/x"),
        ("exit code 10", "exit code 0"),
        ("invoke timed out after 3 seconds", "invoke timed out after 30 seconds"),
        ("100 completed; 2 cold starts", "99 completed; 2 cold starts"),
        ("one\ntwo", "two\none"),
    ],
)
def test_anything_else_is_a_difference(documented, real):
    assert differences(documented, real)


def test_addresses_and_folders_are_those_of_the_documents():
    places = Places(folder=Path("/tmp/x"), port=40001, gateway_port=40002)

    text = places.as_documented("http://127.0.0.1:40001 http://127.0.0.1:40002/a /tmp/x/data /tmp/x/home/.fgs")

    assert text == "http://127.0.0.1:7180 http://127.0.0.1:7181/a /var/lib/funclet /root/.fgs"


@pytest.fixture
def document(tmp_path):
    """A Markdown file with one of each."""
    path = tmp_path / "document.md"
    path.write_text(
        "# One\n\n<!-- tested -->\n```console\n$ cat > f <<'E'\n> # no heading\n> E\n$ cat f\n# no heading\n```\n"
        "\n```sh\n$ not tested\n```\n\n## Two\nA [link](a.md) and `[no](link)`.\n"
    )
    return path


def test_only_marked_blocks_are_tested(document):
    assert [block.is_tested for block in fenced_blocks(document)] == [True, False]


def test_commands_go_over_several_lines_and_have_their_output(document):
    first, second = steps(fenced_blocks(document)[0])

    assert (first.command, first.expected) == ("cat > f <<'E'\n# no heading\nE", ())
    assert (second.command, second.expected, second.line) == ("cat f", ("# no heading",), 8)


def test_what_stands_in_blocks_is_no_heading_and_no_link(document):
    assert headings(document) == [1, 2]
    assert [target for _, target in links(document)] == ["a.md"]
