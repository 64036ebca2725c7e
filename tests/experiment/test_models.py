"""From a path, a callable or a plug-in to a recognizer with its record."""

import sys

import numpy as np
import pytest

from lrfr.core.errors import SpecError
from lrfr.experiment.models import load_plugin, open_plugin, open_recognizer


def test_plug_in_is_found_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "their_model.py").write_text(
        "import numpy as np\nclass Net:\n    def __call__(self, images):\n        return "
        "np.ones((len(images), 3), np.float32)\n"
        "def embed(images):\n    return Net()(images)\nnumber = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    for name in ("their_model:embed", "their_model:Net"):
        assert load_plugin(name)([None, None]).shape == (2, 3)
    assert sys.path == before
    for name, words in (
        ("their_model", "module:function"),
        ("their_model:nothing", "no function"),
        ("their_model:number", "no function"),
    ):
        with pytest.raises(SpecError, match=words):
            load_plugin(name)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    for name, words in (("absent_module:embed", "cannot import"), ("broken:embed", "ZeroDivisionError")):
        with pytest.raises(SpecError, match=words):
            load_plugin(name)


class Net:
    digest = "d" * 64

    def __call__(self, images):
        return np.ones((len(images), 3), np.float32)


def test_a_callable_has_a_digest_only_where_it_says_so(tmp_path, monkeypatch):
    (tmp_path / "named_model.py").write_text("def embed(images):\n    return None\nembed.digest = 'a' * 64\n")
    monkeypatch.chdir(tmp_path)
    assert open_recognizer(Net()).model.digest == "d" * 64 and open_recognizer(Net()).model.name == "Net"
    assert open_recognizer(lambda images: None, name="mine").model.digest is None
    opened = open_plugin("named_model:embed")
    assert (opened.model.name, opened.model.digest) == ("named_model:embed", "a" * 64)
    with pytest.raises(SpecError, match="is no model"):
        open_recognizer(3)
