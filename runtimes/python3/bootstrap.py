"""First file of the Python runtime: make the files beside it importable as `_funclet`, then run the loop.

It stays this small because Python compiles the first file at every start, and keeps only the others compiled.
"""

import os
import sys


def adopt_folder() -> None:
    """Make this folder the package `_funclet` and take it off `sys.path`.

    So a function may have a `context.py` or an `errors.py` of its own.
    """
    root = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs a cold start milliseconds
    package = type(sys)("_funclet")
    package.__path__ = [root]
    sys.modules["_funclet"] = package
    sys.path[:] = [entry for entry in sys.path if entry != root]


if __name__ == "__main__":
    adopt_folder()
    from _funclet import loop

    loop.main()
