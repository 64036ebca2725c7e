"""The table of methods, one file a published method (installed packages add more: ``lrfr.methods``), and the
recipes that are shipped for them, read without importing a method, so that listings are quick.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from lrfr.core.errors import SpecError, as_path, did_you_mean
from lrfr.core.registry import Registry
from lrfr.core.strict_yaml import Document, load, parse

if TYPE_CHECKING:
    from lrfr.train.methods.base import Method

# by name only, so that help and listings import no torch
METHODS: Registry[type[Method]] = Registry(
    "method",
    "lrfr.methods",
    {
        "baseline": "lrfr.train.methods.baseline:Baseline",
        "fskd": "lrfr.train.methods.fskd:Fskd",
        "waveresnet": "lrfr.train.methods.waveresnet:WaveResNet",
        "btnet-trunk": "lrfr.train.methods.btnet:BtnetTrunk",
        "btnet-branch": "lrfr.train.methods.btnet:BtnetBranch",
        "maug": "lrfr.train.methods.maug:Maug",
        "catface": "lrfr.train.methods.catface:CatFace",
        "qualnet": "lrfr.train.methods.qualnet:QualNet",
        "function-matching": "lrfr.train.methods.function_matching:FunctionMatching",
        "octuplet": "lrfr.train.methods.octuplet:Octuplet",
    },
)


def recipe_names(method: str) -> list[str]:
    """Return the recipes that are shipped for ``method``."""
    folder = resources.files("lrfr.train") / "recipes"
    names = [
        entry.name
        for entry in folder.iterdir()
        if entry.name.startswith(f"{method}.") and entry.name.endswith(".yaml")
    ]
    return sorted(name.removeprefix(f"{method}.").removesuffix(".yaml") for name in names)


def declared_parents(method: str) -> dict[str, str] | None:
    """Return role to method of what a method needs, as its shipped recipe ``tiny`` declares it, so that a
    listing imports no method; None where it ships none.
    """
    if "tiny" not in recipe_names(method):
        return None
    parents = (recipe_document(method, "tiny").data or {}).get("parents") or {}
    return {role: entry["method"] for role, entry in parents.items()}


def recipe_document(method: str, recipe: str) -> Document:
    """Return a shipped recipe (by name) or one of the user's (by path).

    Raises:
        SpecError: no such recipe, or malformed, with file and line.

    """
    path = as_path(recipe, "a recipe, or its name")
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return load(path)
    shipped = resources.files("lrfr.train") / "recipes" / f"{method}.{recipe}.yaml"
    if shipped.is_file():
        return parse(shipped.read_bytes(), f"{method}.{recipe}.yaml")
    names = recipe_names(method)
    if not names and recipe == "tiny":  # a plug-in without recipes trains with its defaults
        return parse("{}", f"{method}.tiny.yaml")
    raise SpecError(f"unknown recipe '{recipe}' for '{method}'", hint=did_you_mean(recipe, names))
