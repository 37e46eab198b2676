"""Find the author's function that a handler string names. Start with `resolve`."""

import sys

# Not from typing, which costs a cold start 3 ms; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HandlerError(Exception):
    """A handler cannot be used. The argument is the author's text for it; the cause is the exception behind it."""


def resolve(handler: str, code_root: str) -> "Any":
    """Import the module of `[dir/]file.function` and return the callable; the last dot separates the two.

    Afterwards the module's folder and the code root come first on `sys.path`. An imported module is not run again.

    Raises:
        HandlerError: the module or the function cannot be had.
    """
    path, _, name = handler.rpartition(".")
    module_name = path.rpartition("/")[2]
    if not module_name or not name:
        raise HandlerError(f"handler '{handler}' is not of the form file.function") from ValueError()
    _put_first(*folders(handler, code_root))
    module = _load(module_name)
    try:
        function = getattr(module, name)
    except BaseException as error:
        text = f"handler '{name}' not found in module '{module_name}'({_message_of(error)})"
        raise HandlerError(text) from error
    if not callable(function):
        raise HandlerError(f"handler '{name}' in module '{module_name}' is not callable") from TypeError()
    return function


def folders(handler: str, code_root: str) -> "list[str]":
    """Return where the module of a handler looks for others first: in its own folder, then in the code root."""
    folder = handler.rpartition(".")[0].rpartition("/")[0]
    return [code_root + "/" + folder, code_root] if folder else [code_root]


def _put_first(*entries: str) -> None:
    sys.path[:] = [*entries, *(entry for entry in sys.path if entry not in entries)]


def _load(name: str) -> object:
    try:
        module = __import__(name)
        for part in name.split(".")[1:]:
            module = getattr(module, part)
    except SyntaxError as error:
        raise HandlerError(f"Syntax error in module '{name}'({_message_of(error)})") from error
    except ImportError as error:
        raise HandlerError(f"failed to import module '{name}'({_message_of(error)})") from error
    except BaseException as error:
        raise HandlerError(f"module initialization error({_message_of(error)})") from error
    return module


def _message_of(error: BaseException) -> str:
    from _funclet import errors

    return errors.message_of(error)
