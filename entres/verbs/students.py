"""Verbs that turn students into files for others, and others' into ours."""

from __future__ import annotations

from pathlib import Path


def export(student: str, to: str, tail: bool = True, onnx: bool = False) -> None:
    """Write a student for sharing, as one file in half precision, or for a phone without torch.

    Args:
        student: file of a student.
        to: file to write, ending in .safetensors; with --onnx true a folder.
        tail: false leaves out what of the tail is its teacher's, or for a phone all of it.
        onnx: true writes ONNX graphs and coding tables, with which entres.edge encodes with
            onnxruntime and numpy alone. The tail takes a minute or two.

    Raises:
        WeightsError: if there is no such student, or it cannot be written.
    """
    from entres.models import build_backbone, load_student

    loaded, card = load_student(student)
    if onnx:
        from entres.models.onnx_export import export_onnx

        export_onnx(loaded, card, to, tail, lambda path: print(_size(path)))
    else:
        teacher = None
        if not tail:
            weights = card.teacher_weights
            teacher = build_backbone(card.backbone, card.num_classes, weights, whole=True).tail
        loaded.save(to, card, half=True, teacher=teacher)
        print(f"{card.name}: {_size(Path(to))}")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB in {path}"


def import_published(
    checkpoint: str,
    to: str | None = None,
    beta: float | None = None,
    backbone: str | None = None,
    out: str = "runs",
) -> None:
    """Turn a published sc2-benchmark student into one of ours; its streams stay the same.

    Args:
        checkpoint: a torch file, such as
            ilsvrc2012-splittable_resnet50-mshp-beta0.08_from_resnet50.pt.
        to: file to write, ending in .safetensors (default: in the student's folder among all runs).
        beta: weight of the rate in its training, where the file's name does not say it.
        backbone: timm name, where the tensors are of none of the published three.
        out: folder of all runs.

    Raises:
        WeightsError: if it is no such student.
    """
    from entres.experiment.layout import STUDENT, run_folder
    from entres.models.sc2bench import import_sc2bench

    student, card = import_sc2bench(checkpoint, beta, backbone)
    path = to or run_folder(out, card.dataset or "imagenet", card.name) / STUDENT
    student.save(path, card)
    print(f"{card.name}: {path}")
