"""The public face: which names there are, their signatures, their documentation, and what an import costs."""

import ast
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lrfr

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"core", "degrade", "pairs", "train", "eval", "experiment", "cli"}
# A change here is a change of the public face: say it in CHANGELOG.md, and keep the deprecation policy.
SIGNATURES: dict[str, str] = {}
# these serve people and programs that have no torch at hand, or no time for it
WITHOUT_TORCH = ["load_spec", "Spec", "Pipeline", "Hooks", "Store", "make_pairs", "SpecError", "registry"]
PYTHON = [sys.executable, "-c"]


def test_names_are_sorted_and_each_has_a_home_and_an_import_for_type_checkers():
    tree = ast.parse(Path(lrfr.__file__).read_text("utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == lrfr._HOME
    assert set(lrfr.__all__) == {*lrfr._HOME, "__version__"} == set(dir(lrfr))
    assert lrfr.__all__ == sorted(lrfr.__all__)


def test_no_public_name_hides_a_room():
    assert not ROOMS & set(lrfr.__all__)
    for room in ROOMS:
        assert import_module(f"lrfr.{room}") is getattr(lrfr, room)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'degrade_image'"):
        lrfr.degrade_image  # noqa: B018


@pytest.mark.skipif(not SIGNATURES, reason="the rooms are still being moved")
def test_signatures_are_pinned():
    found = {}
    for name in lrfr.__all__:
        value = getattr(lrfr, name)
        if callable(value) and not (inspect.isclass(value) and issubclass(value, BaseException)):
            found[name] = str(inspect.signature(value))
    assert found == SIGNATURES, json.dumps(found, indent=4)


@pytest.mark.parametrize(
    "name", sorted(set(lrfr.__all__) - {"__version__", "registry", "collate", "Store", "Experiment"})
)
def test_documentation_has_its_parts(name):
    value = getattr(lrfr, name)
    text = inspect.getdoc(value) or ""
    assert text.split("\n")[0].strip(), "a first line that says what it is"
    if inspect.isclass(value) and issubclass(value, BaseException):
        return
    signature = inspect.signature(value)
    parameters = [item for item in signature.parameters if item not in {"self", "args", "kwargs"}]
    if parameters:
        assert "Args:" in text or "Attributes:" in text
        missing = [item for item in parameters if not item.startswith("_") and f"{item}:" not in text]
        assert not missing, f"not explained: {missing}"
    if inspect.isfunction(value):
        assert "Raises:" in text or not parameters or name == "collate"
        assert signature.return_annotation is not inspect.Signature.empty
    if inspect.isclass(value):
        public = [
            item for item, member in vars(value).items() if item[0] != "_" and inspect.isfunction(member)
        ]
        bare = [item for item in public if not inspect.getdoc(getattr(value, item))]
        assert not bare, f"methods without documentation: {bare}"


def modules_after(code: str) -> set[str]:
    """Return the top modules that a fresh Python holds after running ``code``."""
    script = (
        f"import sys, json\n{code}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([*PYTHON, script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing():
    more = modules_after("import lrfr") - modules_after("")
    assert not more & {"torch", "numpy", "cv2", "PIL", "pydantic", "scipy", "click", "yaml", "ray"}, more
    code = "import lrfr, sys; print([name for name in sys.modules if name.startswith('lrfr.')])"
    done = subprocess.run([*PYTHON, code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_names_that_need_no_torch_load_none(name):
    assert "torch" not in modules_after(f"import lrfr; lrfr.{name}")


def test_a_spec_is_read_without_torch():
    assert "torch" not in modules_after("import lrfr; lrfr.load_spec('turb'); lrfr.registry.ops.names()")


def test_listings_of_the_registry_need_no_torch():
    code = "import lrfr; r = lrfr.registry; [t.names() for t in (r.ops, r.sources, r.methods)]"
    assert "torch" not in modules_after(code)
