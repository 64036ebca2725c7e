"""Which commands there are, and where; none is imported before it runs."""

from __future__ import annotations

# name: (module, attribute, one-line help); the module is imported only when the command runs
COMMANDS: dict[str, tuple[str, str, str]] = {
    "quickstart": ("lrfr.cli.experiment.quickstart", "quickstart_command", "from photographs to a report"),
    "demo": ("lrfr.cli.experiment.demo", "demo", "the whole house in small, on embedded faces"),
    "degrade": ("lrfr.cli.degrade.degrade", "degrade", "degrade faces by a spec"),
    "studio": ("lrfr.cli.degrade.studio", "studio", "tune a recipe by eye, on a local page"),
    "presets": ("lrfr.cli.degrade.presets", "presets", "the shipped degradation recipes"),
    "spec": ("lrfr.cli.degrade.spec", "spec", "check, describe and compare degradation specs"),
    "fit": ("lrfr.cli.experiment.fit", "fit_command", "the recipe of a camera, read from its crops"),
    "init": ("lrfr.cli.degrade.init", "init", "write a commented starter spec"),
    "experiment": ("lrfr.cli.experiment.experiment", "experiment", "a declared comparison, one report"),
    "sweep": ("lrfr.cli.experiment.sweep", "sweep_command", "train a grid of options, compare them"),
    "make-list": ("lrfr.cli.eval.make_list", "make_list_group", "pairs, or lists for 1:N, to measure on"),
    "eval": ("lrfr.cli.eval.eval", "evaluate", "measure a model on a benchmark"),
    "report": ("lrfr.cli.eval.report", "report", "one page from result files"),
    "reproduce": ("lrfr.cli.eval.reproduce", "reproduce", "check a result, from the faces to the metric"),
    "figures": ("lrfr.cli.eval.figures", "figures", "embeddings and attention maps by resolution"),
    "table": ("lrfr.cli.eval.report", "table", "a paper's table beside ours"),
    "align": ("lrfr.cli.pairs.align", "align_command", "photographs become aligned crops"),
    "detectors": ("lrfr.cli.pairs.detectors", "detectors_group", "what finds faces, and how to get it"),
    "sources": ("lrfr.cli.pairs.make_pairs", "sources_command", "kinds of faces that can be read"),
    "make-pairs": ("lrfr.cli.pairs.make_pairs", "make_pairs_command", "write an HR/LR pair store"),
    "train": ("lrfr.cli.train.train", "train_group", "train a method on a view"),
    "export": ("lrfr.cli.train.weights", "export_command", "a checkpoint as ONNX or safetensors"),
    "import-weights": ("lrfr.cli.train.weights", "import_weights_command", "foreign weights as a checkpoint"),
    "route": ("lrfr.cli.train.weights", "route_command", "several checkpoints as one, by the size of a face"),
    "store": ("lrfr.cli.pairs.store", "store_group", "look at, check and care for a pair store"),
    "doctor": ("lrfr.cli.doctor", "doctor", "versions, CPU, disk, GPU and what is missing"),
}
