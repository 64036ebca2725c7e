"""The pages on specs and presets name everything that exists."""

from __future__ import annotations

import re
from pathlib import Path

from lrfr.degrade.ops.table import OPS
from lrfr.degrade.spec.model import parse_spec
from lrfr.degrade.spec.resolve import ALIASES, preset_names
from lrfr.degrade.spec.steps import CONTAINERS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_op_and_parameter_is_on_the_page():
    text = (DOCS / "spec.md").read_text()
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", text, re.MULTILINE)}
    for name, op in OPS.items():
        missing = [
            field
            for field in op.model_fields
            if field not in {"severity", "sha256"} and f"`{field}`" not in rows[name]
        ]
        assert not missing, (name, missing)
        assert rows[name].endswith(f"| {'yes' if op.portable else 'no'} |")
    assert all(f"`{kind}: [...]`" in text for kind in CONTAINERS)


def test_every_preset_is_on_the_page_and_in_no_other_name():
    text = (DOCS / "presets.md").read_text()
    assert all(f"`{name}`" in text for name in [*preset_names(), *ALIASES])


def test_the_example_is_a_good_spec():
    example = re.search(r"```yaml\n(.*?)```", (DOCS / "spec.md").read_text(), re.DOTALL)
    assert parse_spec(example[1]).name == "far-camera"


def test_the_benchmark_knows_every_op():
    text = (DOCS.parent / "benchmarks" / "degrade.py").read_text()
    assert not [name for name in OPS if f'"{name}"' not in text]
