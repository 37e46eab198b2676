"""The tables of proofs: which marks are read, whose they are, and what makes a check fail."""

import pytest

from tools import coverage, proof_pages, proofs
from tools.proofs import Proof, WrongMark

MODULE = """
import pytest
proves = pytest.mark.proves
pytestmark = pytest.mark.proves("operation:OfTheModule")

@pytest.mark.parametrize("size", [pytest.param(1, marks=proves("quota:of a parameter")), 2])
@pytest.mark.proves("error:FSS.1001", "faq:FAQ-1")
def test_one(size): ...

class TestThing:
    @pytest.mark.proves("error:FSS.1001")
    async def test_two(self):
        def inner():
            return pytest.param(1, marks=proves("quota:deep"))

@pytest.mark.proves("operation:OfAClass")
class TestOther: ...
"""


def collected(tmp_path, text):
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_it.py").write_text(text)
    return proofs.collect(folder, root=tmp_path)


def test_marks_belong_to_the_function_class_or_module_around_them(tmp_path):
    place = "tests/test_it.py"

    assert collected(tmp_path, MODULE) == {
        "operation:OfTheModule": [Proof(place, "test_it.py")],
        "quota:of a parameter": [Proof(place, "test_one")],
        "error:FSS.1001": [Proof(place, "test_one"), Proof(place, "test_two")],
        "faq:FAQ-1": [Proof(place, "test_one")],
        "quota:deep": [Proof(place, "test_two")],
        "operation:OfAClass": [Proof(place, "TestOther")],
    }


@pytest.mark.parametrize("argument", ["NAME", "f'error:{NAME}'", "'error'", "'error:'", "'other:X'", "1"])
def test_marks_that_name_nothing_are_refused(tmp_path, argument):
    with pytest.raises(WrongMark, match=r"tests/test_it\.py:1"):
        collected(tmp_path, f"m = pytest.mark.proves({argument})\n")


def test_a_cell_is_a_link_to_the_first_test_or_the_reason(tmp_path):
    found = {"error:A": [Proof("tests/a.py", "test_a"), Proof("tests/b.py", "test_b")]}
    page = proofs.ROOT / "docs" / "reference" / "page.md"

    assert proofs.cell(found, "error:A", page) == "[test_a](../../tests/a.py) and 1 more"
    assert proofs.cell(found, "error:B", page, otherwise="because") == "because"


ERRORS = proof_pages.PAGES[0]


def rows(**reasons):
    return [proof_pages.Row(name=name, cells=("400", "text"), reason=reason) for name, reason in reasons.items()]


def test_a_row_needs_a_test_or_a_reason():
    found = {"error:A": [Proof("tests/a.py", "test_a")]}

    faults = list(proof_pages.faults_of(ERRORS, rows(A="", B="because", C=""), found))

    assert len(faults) == 1
    assert "C has neither a test" in faults[0]


def test_a_mark_of_an_unknown_row_is_named_with_its_test():
    found = {"error:Z": [Proof("tests/a.py", "test_a")], "quota:Z": [Proof("tests/a.py", "test_a")]}

    faults = list(proof_pages.faults_of(ERRORS, rows(B="because"), found))

    assert faults == ["tests/a.py: test_a proves 'error:Z', which no table has"]


def test_a_row_that_asks_the_same_has_the_tests_of_the_other():
    page = next(page for page in proof_pages.PAGES if page.kind == "faq")
    first = proof_pages.Row(name="F1", cells=("why?",))
    again = proof_pages.Row(name="F2", cells=("why again?",), same_as=("F1",))
    found = {"faq:F1": [Proof("tests/a.py", "test_a")]}

    assert not list(proof_pages.faults_of(page, [first, again], found))
    assert "| `F2` | why again? | [test_a](../../tests/a.py) |" in proof_pages.render(page, [first, again], found)


@pytest.mark.parametrize("name", ["CreateFunction", "AddGroupMember"])
def test_an_operation_that_is_built_needs_a_test(name):
    """Those of the cloud, and those that are additions."""
    faults = list(coverage.faults_of(coverage.OPERATIONS, {"operation:Unknown": [Proof("tests/a.py", "test_a")]}))

    assert any(fault.startswith(f"{name} is built, but no test") for fault in faults)
    assert faults[-1] == "tests/a.py: test_a proves 'operation:Unknown', which no table has"
