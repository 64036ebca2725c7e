"""A third party's embedder, named on the command line as ``module:function``; nothing is ever loaded that was
not named there.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from lrfr.core.embedder import Embedder
from lrfr.core.errors import SpecError


def load_plugin(name: str, folder: Path | None = None) -> Embedder:
    """Import ``module:function`` (the current folder is searched first) and return the callable.

    The function is ``embed(list of uint8 HWC RGB images of any size) -> float32 [N, D]``. A class works too:
    it is called once without arguments, and its instance is used.

    Raises:
        SpecError: the name is malformed, or the module or the function does not exist or fails to import.

    """
    module_name, separator, attribute = name.partition(":")
    if not (module_name and separator and attribute):
        raise SpecError(f"'{name}' is not module:function", hint="for example my_model:embed")
    root = str(folder or Path.cwd())
    sys.path.insert(0, root)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SpecError(f"cannot import '{module_name}': {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(root)
    found = getattr(module, attribute, None)
    found = found() if isinstance(found, type) else found
    if not callable(found):
        raise SpecError(f"module '{module_name}' has no function '{attribute}'")
    made: Embedder = found
    return made
