"""Find the author's function that a handler string names. Start with `resolve`."""

import sys


class HandlerError(Exception):
    """A handler cannot be used. The argument is the author's text for it; the cause is the exception behind it."""


def resolve(handler: str, code_root: str):  # noqa: ANN201 - any callable of the author's
    """Import the module of `[dir/]file.function` and return the function; the last dot separates the two.

    Afterwards the module's folder and the code root come first on `sys.path`. An imported module is not run again.

    Raises:
        HandlerError: the module or the function cannot be had.
    """
    path, _, name = handler.rpartition(".")
    folder, _, module_name = path.rpartition("/")
    if not module_name or not name:
        raise HandlerError("handler '%s' is not of the form file.function" % handler) from ValueError()
    _put_first(code_root + "/" + folder if folder else code_root, code_root)
    module = _load(module_name)
    try:
        function = getattr(module, name)
    except BaseException as error:
        text = "handler '%s' not found in module '%s'(%s)" % (name, module_name, _message_of(error))
        raise HandlerError(text) from error
    if not callable(function):
        raise HandlerError("handler '%s' in module '%s' is not callable" % (name, module_name)) from TypeError()
    return function


def _put_first(*folders: str) -> None:
    sys.path[:] = [*dict.fromkeys(folders), *(entry for entry in sys.path if entry not in folders)]


def _load(name: str):  # noqa: ANN202 - a module
    try:
        module = __import__(name)
        for part in name.split(".")[1:]:
            module = getattr(module, part)
    except SyntaxError as error:
        raise HandlerError("Syntax error in module '%s'(%s)" % (name, _message_of(error))) from error
    except ImportError as error:
        raise HandlerError("failed to import module '%s'(%s)" % (name, _message_of(error))) from error
    except BaseException as error:
        raise HandlerError("module initialization error(%s)" % _message_of(error)) from error
    return module


def _message_of(error: BaseException) -> str:
    from _funclet import errors

    return errors.message_of(error)
