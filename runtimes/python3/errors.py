"""Turn an exception of the author's into the error JSON and the log text. Imported at the first failure only."""

import linecache
import traceback
from _json import encode_basestring_ascii

MAX_MESSAGE_CHARACTERS = 65536
MAX_LINE_CHARACTERS = 1000
MAX_FRAMES = 100
MAX_LOG_CHARACTERS = 262144


def message_of(error: BaseException) -> str:
    """Return `str(error)`, at most 65,536 characters; never raises."""
    try:
        text = str(error)
    except BaseException:
        return f"<unprintable {type(error).__name__} object>"
    return _bounded(text, MAX_MESSAGE_CHARACTERS)


def to_json(message: str, kind: str, stack: "list[str] | None" = None) -> bytes:
    """Return the error JSON with four blanks of indentation; without `stackTrace` if there is no list."""
    # By hand: `json` may be a module of the author's.
    quoted = encode_basestring_ascii
    members = [f'    "errorMessage": {quoted(message)}', f'    "errorType": {quoted(kind)}']
    if stack:
        lines = ",\n".join(f"        {quoted(line)}" for line in stack)
        members.append(f'    "stackTrace": [\n{lines}\n    ]')
    elif stack is not None:
        members.append('    "stackTrace": []')
    return ("{\n" + ",\n".join(members) + "\n}").encode()


def stack_of(error: BaseException, code_root: str) -> "list[str]":
    """Return two texts per frame under the code root, outermost first, at most 100 frames."""
    frames = []
    count = 0
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file.startswith(code_root + "/"):
            count += 1
            frames.append((file, step.tb_lineno, step.tb_frame.f_code.co_name))
            if len(frames) > MAX_FRAMES:
                # The outermost and the innermost say most.
                del frames[MAX_FRAMES // 2]
        step = step.tb_next
    lines = []
    for number, (file, line, name) in enumerate(frames):
        if count > MAX_FRAMES and number == MAX_FRAMES // 2:
            lines.append(f"... {count - MAX_FRAMES} frames left out ...")
        lines.append(f'File "{_short(file, code_root)}", line {line}, in {name}')
        lines += _source(linecache.getline(file, line))
    return lines


def syntax_stack_of(error: SyntaxError, code_root: str) -> "list[str]":
    """Return the place that the parser names and its source line."""
    if not error.filename:
        return []
    place = f'File "{_short(error.filename, code_root)}", line {error.lineno}'
    return [place, *_source(error.text or "")]


def traceback_of(error: BaseException, runtime_root: str) -> str:
    """Return the complete traceback without the runtime's own frames; empty if only those were there."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename, runtime_root):
        trace = trace.tb_next
    if trace is None:
        return ""
    lines = traceback.format_exception(type(error), error, trace, -MAX_FRAMES)
    return _bounded("".join(lines).rstrip("\n"), MAX_LOG_CHARACTERS)


def _is_ours(file: str, runtime_root: str) -> bool:
    return file.startswith((runtime_root + "/", "<frozen importlib"))


def _short(file: str, code_root: str) -> str:
    return "." + file[len(code_root) :] if file.startswith(code_root + "/") else file


def _source(line: str) -> "list[str]":
    text = line.strip()[:MAX_LINE_CHARACTERS]
    return ["  " + text] if text else []


def _bounded(text: str, limit: int) -> str:
    """Cut the middle out of a text that is too long."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"
