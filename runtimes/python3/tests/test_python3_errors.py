"""Exceptions become bounded texts."""
# ruff: noqa: ANN001, ANN003, ANN201, D103, PLR2004 - as in the other tests: names and fixtures say it

import json

import pytest
from _funclet import errors


def raised(source, root, **names):
    """Run a source as if it were a file of the code root and return what it raises."""
    path = root / "index.py"
    path.write_text(source)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - the test says what is raised
        exec(compile(source, str(path), "exec"), names)  # noqa: S102 - the author's code of this test
    return caught.value


def test_a_stack_names_file_line_function_and_source(tmp_path):
    error = raised("def f():\n    raise KeyError(1)\nf()\n", tmp_path)

    assert errors.stack_of(error, str(tmp_path)) == [
        'File "./index.py", line 3, in <module>',
        "  f()",
        'File "./index.py", line 2, in f',
        "  raise KeyError(1)",
    ]


def test_a_deep_stack_keeps_both_ends(tmp_path):
    error = raised("def f(n):\n    1 / n\n    f(n - 1)\nf(300)\n", tmp_path)

    stack = errors.stack_of(error, str(tmp_path))

    assert stack[0] == 'File "./index.py", line 4, in <module>'
    assert stack[100] == "... 202 frames left out ..."
    assert stack[-2:] == ['File "./index.py", line 2, in f', "  1 / n"]
    assert len(stack) == 201


def test_a_message_is_bounded_in_its_middle():
    text = errors.message_of(ValueError("a" * 70000 + "b"))

    assert len(text) < 66000
    assert text.startswith("aaa")
    assert text.endswith("aab")
    assert "4465 characters left out" in text


def test_a_traceback_without_frames_of_the_author_is_empty():
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x")

    assert errors.traceback_of(caught.value, __file__.rpartition("/")[0]) == ""


def test_the_json_has_four_blanks_and_a_stack_only_if_there_is_one():
    assert errors.to_json("m", "T") == b'{\n    "errorMessage": "m",\n    "errorType": "T"\n}'
    assert json.loads(errors.to_json("m", "T", []))["stackTrace"] == []


def test_a_syntax_error_names_its_place(tmp_path):
    error = raised("x = 1\ny = = 2\n", tmp_path)

    assert errors.syntax_stack_of(error, str(tmp_path)) == ['File "./index.py", line 2', "  y = = 2"]


def test_a_syntax_error_without_a_place_has_no_stack():
    assert errors.syntax_stack_of(SyntaxError("made by hand"), "/code") == []
