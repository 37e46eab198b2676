"""From the ids of dependencies that a function names to what is put beside its code."""

from dataclasses import replace

from funclet.model.dependency import DependencyVersion, fits
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion, Layer
from funclet.store.protocol import Tx


def with_layers(tx: Tx, function: FunctionVersion) -> FunctionVersion:
    """Return a function with the layers of its dependencies; an id of a dependency becomes that of its newest version.

    Raises:
        ModelError: FSS.1056 for one that does not exist or belongs to another project, FSS.0424 for one of another
            language, FSS.1024 for one that is named twice.
    """
    found = [_require(tx, function, wanted) for wanted in function.settings.dependency_ids]
    ids = tuple(dependency.version_id for dependency in found)
    if len(set(ids)) < len(ids):
        raise ModelError("FSS.1024", "depend_version_list names the same dependency version twice.")
    layers = tuple(Layer(dependency_id=one.dependency_id, digest=one.digest) for one in found)
    return replace(
        function,
        settings=replace(function.settings, dependency_ids=ids),
        code=replace(function.code, layers=layers),
    )


def _require(tx: Tx, function: FunctionVersion, wanted: str) -> DependencyVersion:
    dependency = tx.dependencies.get(wanted) or next(iter(tx.dependencies.versions(wanted)), None)
    if dependency is None or not dependency.is_visible_to(function.project_id):
        raise ModelError("FSS.1056", f"Dependency version '{wanted[:80]}' does not exist.")
    runtime = function.settings.runtime
    if not fits(dependency.runtime, runtime):
        raise ModelError(
            "FSS.0424",
            f"Dependency '{dependency.name}' is for runtime '{dependency.runtime}'; the function has '{runtime}'.",
        )
    return dependency
