"""``lrfr export``: a checkpoint as ONNX or safetensors with a model card; ``lrfr import-weights``: foreign
weights as a checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError


@command("export", short_help="Write a checkpoint as ONNX or safetensors, with a model card.")
@click.argument("checkpoint", type=opt.PATH)
@opt.flag("--onnx", text="Write ONNX, checked against torch within 1e-5 (extra [onnx]).")
@opt.choice("--quantize", of="int8", help="With --onnx: also in whole numbers, by the faces of --view.")
@opt.store("With --quantize: folder of the store.")
@opt.option("--view", default="default", help="With --quantize: view whose faces set the ranges.")
@opt.flag("--safetensors", text="Write safetensors with insightface's layer names.")
@opt.flag("--branch-packs", text="btnet-branch: what each branch does not share, a file each.")
@opt.path("--out", "target", help="Folder.  [default: export/NAME]")
@opt.option("--data", "data_text", help="For the card: what it was trained on.")
@opt.option("--license", "license_text", help="For the card: terms of use.")
@opt.path("--result", "results", multiple=True, help="For the card: results of lrfr eval.")
@opt.dry_run("Write nothing: check the checkpoint, show where files would go.")
def export_command(out: Output, checkpoint: Path, **given: Any) -> dict[str, object]:
    """Write CHECKPOINT (or the last one of a run) for other programs, with a model card beside it.

    \b
    Examples:
      lrfr export runs/fskd --onnx
      lrfr export runs/fskd --onnx --quantize int8 --view default --result results/fskd-synthetic.json
      lrfr export runs/routed --onnx
      lrfr export runs/fskd --safetensors --license CC-BY-4.0 --result results/fskd-synthetic.json
      lrfr export runs/btnet-branch --branch-packs
    """
    from lrfr.experiment.steps.export_here import export_here, model_folder

    kinds = {kind: given[kind] for kind in ("onnx", "safetensors", "branch_packs")}
    if given["quantize"] and not kinds["onnx"]:
        raise SpecError("--quantize makes whole numbers of an ONNX file", hint="--onnx --quantize int8")
    if not any(kinds.values()):
        raise SpecError("nothing to write", hint="give --onnx, --safetensors or --branch-packs")
    folder = model_folder(checkpoint)
    target = given["target"] or Path("export") / (checkpoint.name or "model")
    if given["dry_run"]:
        out.say(f"{folder} -> {target}")
        return {"checkpoint": str(folder), "out": str(target), "files": []}
    card = {"Data": given["data_text"] or "", "License": given["license_text"] or ""}
    faces = (given["store"], given["view"]) if given["quantize"] else None
    files = export_here(checkpoint, target, kinds, card=card, results=given["results"], int8_view=faces)
    out.lines(map(str, files))
    return {"checkpoint": str(folder), "out": str(target), "files": [str(file) for file in files]}


@command("import-weights", short_help="Make a checkpoint of foreign weights.")
@click.argument("source", type=opt.EXISTING_FILE)
@opt.option("--backbone", help="A backbone of lrfr.  [default: the one that fits]")
@opt.option("--family", help="Whose weights these are.  [default: told by names]")
@opt.option("--part", help="Which of several networks in the file: a place in it, or a prefix.")
@opt.path("--out", "target", help="Checkpoint folder.  [default: runs/NAME]")
@opt.option("--input-range", help="What the original takes: -1,1, 0,1, 0,255, imagenet, or mean/std.")
@opt.flag("--bgr", text="The original takes BGR.")
@opt.flag("--rgb", text="The original takes RGB, whatever its family does.")
@opt.flag("--as-is", text="Only copy an ONNX file, to --out, with what it takes written into it.")
@opt.flag("--check", text="Try the input's readings on 64 embedded faces, and say which are plausible.")
@opt.dry_run("Write nothing: say what would be made.")
def import_weights_command(out: Output, source: Path, **given: Any) -> dict[str, object]:
    """Make a checkpoint of SOURCE: a file of torch.save (.pth, .pt, .ckpt, .bin; nothing of it is run),
    safetensors, or the ONNX of a convolutional recognizer.

    Family, backbone and prefix are told by names and shapes. The result embeds like the original and can be
    trained: as a teacher (--parent teacher=...) or a start (--parent init=...).

    \b
    Examples:
      lrfr import-weights mobilefacenet.onnx
      lrfr import-weights adaface_ir50_ms1mv2.ckpt --out runs/adaface
      lrfr import-weights ms1mv3_r50.pth --input-range -1,1 --check
      lrfr import-weights vit.onnx --as-is --bgr --out teacher.onnx
      lrfr train fskd --parent teacher=runs/mobilefacenet --set backbone=mobilefacenet-small
    """
    from lrfr.train.weights import import_weights as room
    from lrfr.train.weights.foreign.input_contract import Stated
    from lrfr.train.weights.foreign.names.recognize import Choice
    from lrfr.train.weights.foreign.stated_copy import stated_copy

    if given["bgr"] and given["rgb"]:
        raise SpecError("--bgr and --rgb: it takes one of them")
    order = given["bgr"] if given["bgr"] or given["rgb"] else None
    stated = Stated(given["input_range"], order)
    if given["as_is"]:
        made = stated_copy(source, given["target"], stated, given, writes=not given["dry_run"])
        out.say(f"{made['file']} takes {made['takes']}" + (", and would say so" if given["dry_run"] else ""))
        return made
    target = given["target"] or Path("runs") / source.stem
    room.imported_before(target, source)  # before a large file is read
    plan = room.plan_import(source, Choice(given["backbone"], given["family"], given["part"]), stated)
    known = room.imported_before(target, source, plan)
    said = {"checkpoint": str(target), "digest": known, **plan.as_dict()}
    out.say(f"{source.name}: {plan}")
    if given["check"]:
        said["check"] = str(room.check_input(plan))
        out.say(str(said["check"]))
    elif plan.form == "onnx" and order is None:
        out.say(f"{source.name} does not say the order of its channels: --check tries both on faces")
    if known or given["dry_run"]:
        out.say(f"{target} has these weights already" if known else f"would write {target}")
        return said
    said["digest"] = digest = room.write_import(plan, target, room.embedded_faces())
    out.say(f"{target}: {plan.found.backbone}, checkpoint {digest[:12]}")
    out.next_step("lrfr", "eval", target)
    return said


@command("route", short_help="Make one model of several: each face to those for its size.")
@opt.many("--at", "small", metavar="PX=RUN", text="This run takes faces up to PX; repeatable.")
@opt.path("--rest", required=True, help="The run that takes all larger faces.")
@opt.choice("--indicator", of="max min avg", default="max", help="Side that stands for a face.")
@opt.choice("--rule", of="ceil near floor", default="ceil", help="PX not below it, nearest, not above.")
@opt.many("--weights", metavar="PX=W,W", text="Weights of the runs that share PX, in their order.")
@opt.option("--fit-view", help="Fit those weights on this view: people whom no run was trained on.")
@opt.store("With --fit-view: folder of the store.")
@opt.path("--out", "target", default="runs/routed", help="Folder to write.")
@opt.dry_run("Write nothing: say what would be made.")
def route_command(
    out: Output, small: tuple[str, ...], rest: Path, target: Path, **given: Any
) -> dict[str, object]:
    """Make one model of several: each face goes to the run for its larger side, or by another rule; runs that
    share a side are averaged.

    The runs must embed into one space to be compared with each other: a teacher and students that were taught
    its embeddings do. The result is evaluated like a checkpoint. An ONNX file may be a run, too.

    \b
    Examples:
      lrfr route --at 28=runs/student --rest runs/teacher
      lrfr route --at 10=runs/tiny-faces --at 28=runs/small-faces --rest runs/teacher --out runs/routed
      lrfr route --at 14=runs/small --rest runs/teacher --indicator min --rule near
      lrfr route --at 14=runs/a --at 14=runs/b --weights 14=0.6,0.4 --rest runs/teacher
      lrfr route --at 14=runs/a --at 14=runs/b --fit-view held-out --rest teacher.onnx
      lrfr eval runs/routed
      lrfr eval runs/routed --set rule=floor
    """
    from lrfr.experiment.steps.route_here import check_routes, route_here, spoken_routes

    routes = spoken_routes(small, rest, given["weights"], (given["indicator"], given["rule"]))
    if given["dry_run"]:
        check_routes(target, routes, given["store"], given["fit_view"])
        parts = (f"{'larger' if side is None else f'up to {side} px'} {path}" for side, path in routes.runs)
        out.say(f"would write {target}: {', '.join(parts)}")
        return {"folder": str(target), "digest": None}
    done = route_here(target, routes, given["store"], given["fit_view"])
    out.lines(done.lines())
    out.say(f"{target}: {done.members} members, routes {done.digest[:12]}")
    out.next_step("lrfr", "eval", target)
    return done.as_json()
