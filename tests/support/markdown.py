"""What tests read in Markdown files: fenced blocks, links, headings. `fenced_blocks` is the first to read."""

import re
from dataclasses import dataclass

MARK = "<!-- tested -->"
_FENCE = re.compile(r"^(`{3,}|~{3,})(\w*)\s*$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block."""

    language: str
    lines: tuple[str, ...]
    line: int
    """Of its fence, counted from 1."""
    is_tested: bool
    """Whether the mark stands before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command of a console block, and what it must print."""

    command: str
    expected: tuple[str, ...]
    line: int


def fenced_blocks(path):
    """Return all fenced blocks of a file."""
    blocks, fence, before = [], None, ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if fence is None:
            match = _FENCE.match(line)
            if match:
                fence, language, start, found, is_tested = match[1], match[2], number, [], before == MARK
            elif line.strip():
                before = line.strip()
        elif line.rstrip() == fence:
            blocks.append(Block(language=language, lines=tuple(found), line=start, is_tested=is_tested))
            fence, before = None, ""
        else:
            found.append(line)
    assert fence is None, f"{path}: the block of line {start} has no end"
    return blocks


def steps(block):
    """Return the commands of a console block: `$ ` starts one, `> ` continues it, the rest is its output."""
    found = []
    for number, line in enumerate(block.lines, start=block.line + 1):
        if line.startswith("$ "):
            found.append(([line[2:]], [], number))
            continue
        assert found, f"line {number}: output before the first command"
        command, expected, _ = found[-1]
        if line.startswith("> ") and not expected:
            command.append(line[2:])
        else:
            expected.append(line)
    return [Step(command="\n".join(words), expected=tuple(lines), line=number) for words, lines, number in found]


def prose(path):
    """Return the lines outside of fenced blocks, with their numbers and without code in backquotes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    inside = set()
    for block in fenced_blocks(path):
        inside |= set(range(block.line, block.line + len(block.lines) + 2))
    return [(number, _CODE.sub("", line)) for number, line in enumerate(lines, start=1) if number not in inside]


def links(path):
    """Return the targets of all links with the numbers of their lines."""
    return [(number, match[1]) for number, line in prose(path) for match in _LINK.finditer(line)]


def headings(path):
    """Return the levels of all headings in order."""
    return [len(line) - len(line.lstrip("#")) for _, line in prose(path) if re.match(r"#{1,6} ", line)]
