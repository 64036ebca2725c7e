"""The recipes that lrfr ships, read without importing a method, so that listings are quick."""

from __future__ import annotations

from importlib import resources

from lrfr.core.errors import SpecError, as_path, did_you_mean
from lrfr.core.strict_yaml import Document, load, parse


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
