"""Every case of `runtimes/conformance` on every language folder that has sources for it."""

import sys
from pathlib import Path

import pytest

RUNTIMES = Path(__file__).parents[2] / "runtimes"
sys.path.insert(0, str(RUNTIMES / "conformance"))

from runner import CASES, Case, load_cases, run_case  # noqa: E402 - the suite is a folder, not a package
from runtime_process import Language, Start  # noqa: E402 - as above

LANGUAGES = [Language.read(path.parent) for path in sorted(RUNTIMES.glob("*/runtime.toml"))]
RUNS = [
    pytest.param(language, case, start, id=f"{language.name}-{case.name}-{start.value}")
    for language in LANGUAGES
    for case in load_cases(CASES)
    if language.name in case.files
    for start in case.starts
    if start in language.starts
]


@pytest.fixture(scope="module")
def interpreters() -> dict[str, Path]:
    """One interpreter per language: the newest that works."""
    return {language.name: language.find_interpreter() for language in LANGUAGES}


@pytest.mark.parametrize(("language", "case", "start"), RUNS)
def test_runtime_follows_the_contract(language: Language, case: Case, start: Start, interpreters: dict[str, Path]):
    run_case(case, language, interpreters[language.name], start)
