"""The public face: which names there are, their signatures, their documentation, and what an import costs."""

import ast
import copy
import inspect
import json
import pickle
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import lrfr
from lrfr.pairs.executors.dispatch import Runner

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"core", "degrade", "fit", "pairs", "train", "eval", "experiment", "studio", "cli"}
# A change here is a change of the public face: say it in CHANGELOG.md, and keep the deprecation policy.
SIGNATURES: dict[str, str] = {
    "Batch": "(hr_bchw: 'torch.Tensor', lr_bchw: 'torch.Tensor', size_px_b: 'torch.Tensor', label_b: 'torch.Tensor', attributes_ba: 'torch.Tensor', row_b: 'torch.Tensor', columns: 'Mapping[str, torch.Tensor]' = <factory>) -> None",
    "Degrade": "(spec: 'Spec | Pipeline | str | Path', *, up: 'bool' = True, p: 'float' = 1.0, seed: 'int | None' = None) -> 'None'",
    "Experiment": "(declaration: 'Declaration', folder: 'Path | None' = None) -> 'None'",
    "FitWishes": "(prior: 'str | None' = None, teacher: 'Measurable | None' = None, cache: 'Path | None' = None, seed: 'int' = 0, budget_minutes: 'float | None' = None, limit: 'int | None' = None, clean_limit: 'int' = 1500, executor: 'str' = 'auto', workers: 'int' = 1, ray_address: 'str | None' = None, pictures: 'bool' = True) -> None",
    "Hooks": "(on_progress: 'OnProgress | None' = None, on_note: 'Callable[[str], None] | None' = None, should_stop: 'Callable[[], bool] | None' = None) -> 'None'",
    "PairDataset": "(store: 'Path | str | StoreFiles', view: 'str' = 'default', split: 'str | None' = None, *, verify: 'str' = 'always', columns: 'Sequence[str]' = ()) -> 'None'",
    "PairLoader": "(dataset: 'PairDataset', batch_size: 'int', seed: 'int' = 0, rank: 'int' = 0, world_size: 'int' = 1, threads: 'int' = 1, shuffle: 'bool' = True, drop_last: 'bool' = True, workers: 'int' = 0, images_per_id: 'int' = 0, columns: 'Sequence[str]' = (), weights: 'str' = '') -> None",
    "Pipeline": "(spec: 'Spec | str | Path') -> 'None'",
    "Results": "(results: 'Sequence[Result]') -> 'None'",
    "Spec": "(name: 'str', seed: 'int', variants: 'int', image: 'ImageSpec', store: 'StoreSpec', steps: 'tuple[Step, ...]', license: 'str | dict[str, str] | None' = None) -> None",
    "Store": "(root: 'Path') -> None",
    "align_images": "(images: 'Sequence[ImageU8 | str | Path]', *, size_px: 'int' = 112, detector: 'str | Detector' = 'mtcnn', face: \"Literal['largest', 'center', 'all']\" = 'largest', on_miss: \"Literal['keep-center', 'skip']\" = 'skip', weights: 'Path | None' = None, hooks: 'Hooks' = Hooks()) -> 'list[Aligned]'",
    "check_camera": "(spec: 'str | Path', crops: 'str | Path', *, seed: 'int' = 0, limit: 'int | None' = None) -> 'Drift'",
    "collate": "(items: 'Sequence[PairItem]') -> 'Batch'",
    "degrade_images": "(images: 'Picture | Sequence[Picture]', spec: 'Spec | Pipeline | str | Path', *, keys: 'Key | Sequence[Key] | None' = None, variant: 'int' = 0, up: 'bool' = False, trace: 'bool' = False) -> 'Any'",
    "evaluate": "(model: 'Measurable', benchmark: 'str | Benchmark' = 'synthetic', data: 'Path | str | None' = None, *, device: 'str' = 'cpu', name: 'str | None' = None, cost: 'bool' = False, hooks: 'Hooks' = Hooks(), **settings: 'object') -> 'Results'",
    "fit_camera": "(crops: 'str | Path', source: 'str | Path', out: 'str | Path' = 'camera.yaml', wishes: 'FitWishes | None' = None, *, hooks: 'Hooks' = Hooks()) -> 'FittedCamera'",
    "load_model": "(path: 'Path | str', device: 'str' = 'cpu', *, input_range: 'str | None' = None, bgr: 'bool | None' = None, trust_code: 'bool' = False) -> 'Embedder'",
    "load_recipe": "(method: 'str', recipe: 'str' = 'tiny', set: 'Mapping[str, object] | Sequence[str]' = ()) -> 'Recipe'",
    "load_spec": "(source: 'str | Path', set: 'Overrides' = ()) -> 'Spec'",
    "make_pairs": "(source: 'str | Path | Source | Ingest', specs: 'str | Path | Spec | Iterable[str | Path | Spec]' = (), *, store: 'str | Path | StoreFiles', view: 'str | ViewOptions' = 'default', options: 'MakeOptions | None' = None, runner: 'Runner | None' = None, hooks: 'Hooks | None' = None, **alignment: 'Unpack[Alignment]') -> 'MadeView'",
    "presets": "() -> 'list[str]'",
    "quickstart": "(photos: 'str | Path', out: 'str | Path' = 'quickstart', *, teacher: 'str | Path' = 'here', minutes: 'float | None' = None, aligned: 'bool | None' = None) -> 'Quickstart'",
    "train_model": "(recipe: 'Recipe | str', view: 'View', run_dir: 'Path | str', *, parents: 'Mapping[str, Parent | str] | None' = None, evaluate: 'Evaluate | None' = None, options: 'FitOptions | None' = None, hooks: 'Hooks' = Hooks()) -> 'Run'",
}
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
    with pytest.raises(AttributeError, match="did you mean 'make_pairs'"):
        lrfr.make  # noqa: B018


def test_signatures_are_pinned():
    found = {}
    for name in lrfr.__all__:
        value = getattr(lrfr, name)
        if callable(value) and not (inspect.isclass(value) and issubclass(value, BaseException)):
            found[name] = re.sub(" object at 0x[0-9a-f]+", "", str(inspect.signature(value)))
    assert found == SIGNATURES, json.dumps(found, indent=4)


@pytest.mark.parametrize("name", sorted(set(lrfr.__all__) - {"__version__", "registry"}))
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


def test_objects_are_readable_pickle_and_copy(tmp_path):
    """What a notebook shows is short and says what it is; what goes to worker processes arrives."""
    faces = np.full((2, 112, 112, 3), 90, np.uint8)
    store, runner = tmp_path / "store", Runner(executor="serial")
    lrfr.make_pairs("synthetic:ids=3,per_id=4,seed=0", ["fskd"], store=store, view="v", runner=runner)
    dataset = lrfr.PairDataset(store, "v")
    models = {name: lrfr.load_recipe(name).make() for name in ("baseline", "btnet-trunk", "maug", "fskd")}
    embedders = {name: method.embedder(method.build(3)) for name, method in models.items()}
    things = {
        "Pipeline('fskd-paper'": lrfr.Pipeline("fskd"),
        "Degrade('fskd-paper'": lrfr.Degrade("fskd"),
        "12 faces of 3 identities": dataset,
        "Batch(4 pairs: hr [4, 3, 112, 112]": next(iter(lrfr.PairLoader(dataset, 4))),
        "Experiment('": lrfr.Experiment.load("demo"),
        "Hooks()": lrfr.Hooks(),
        "Registry(op: ": lrfr.registry.ops,
        "lrfr.registry (ops, sources": lrfr.registry,
        "SpecError('f.yaml: wrong (do this)')": lrfr.SpecError("wrong", file="f.yaml", hint="do this"),
        **{f"Embedder({type(found.nets).__name__}": found for found in embedders.values()},
    }
    for words, thing in things.items():
        text = repr(thing)
        assert words in text and " object at 0x" not in text and len(text) < 1200, text
        copied, arrived = copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))
        if callable(thing) and words.startswith("Embedder"):
            assert (copied(faces) == thing(faces)).all() and (arrived(faces) == thing(faces)).all()
