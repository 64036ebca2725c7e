"""A student as wide as a teacher that was made elsewhere: any recognizer teaches, whatever the size of its
embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from lrfr.train.backbones.table import at_width
from lrfr.train.checkpoint import read_manifest, resolve
from lrfr.train.engine.determinism import own_random_state
from lrfr.train.recipe import Recipe
from lrfr.train.weights.foreign.foreign_file import ForeignFile
from lrfr.train.weights.foreign.foreign_net import foreign_nets
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.parent_files import Parent


def at_teachers_width(recipe: Recipe, given: Mapping[str, Parent]) -> Recipe:
    """Return the recipe with a backbone of the embedding size of the given parent that its method takes it
    from (``Method.width_of``); a backbone whose name states its size (``small-cnn-14-128d``) stays.

    Raises:
        SpecError, DataError, EnvironmentFault: the parent cannot be opened.

    """
    method = recipe.make()
    parent = given.get(method.width_of)
    if parent is None:
        return recipe
    backbone = at_width(method.backbone, embedding_size(parent))
    return replace(recipe, options={**recipe.options, "backbone": backbone})


def embedding_size(parent: Parent) -> int:
    """Return how many numbers an embedding of a checkpoint, run or foreign file has."""
    if isinstance(parent, ForeignFile):
        return int(foreign_nets(ForeignEmbedder(parent))["net"].emb_dim)
    identity = ModelIdentity.read(read_manifest(resolve(parent)), parent)
    with own_random_state(), torch.device("meta"):
        nets = identity.make().build(identity.num_classes, None, identity.attribute_names)
    return int(nets["net"].emb_dim)
