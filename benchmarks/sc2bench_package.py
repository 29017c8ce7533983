"""Students as the package sc2bench has them: the same weights, evaluated and trained by its code.

sc2bench is no dependency: who calls these functions has it. Its ``SplittableResNet`` takes any tail
for its ``layer2``; all that it does with a student is its own: coding, sizes, losses, steps.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from entres.models import Classifier, Codec, EntropicStudent

MISSING = (
    "sc2bench is not installed, so its own code stands beside nothing: pip install sc2bench "
    "(or pip install --target FOLDER sc2bench, and PYTHONPATH=FOLDER)"
)
ENTROPY_MODELS = {
    "fp": ("entropy_bottleneck",),
    "mshp": ("gaussian_conditional", "entropy_bottleneck"),
}
"""Parts of a bottleneck that give likelihoods, by codec."""


def is_installed() -> bool:
    """Whether sc2bench can be imported."""
    return importlib.util.find_spec("sc2bench") is not None


class _Normalize(nn.Module):
    """What sc2bench's transforms do before the student."""

    def __init__(self, student: EntropicStudent) -> None:
        super().__init__()
        self.mean, self.std = student.mean, student.std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class _Scale(nn.Module):
    """The fixed scale and shift behind a codec of entres, identity for the published ones."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.scale, self.shift = (
            x.detach().clone()[:, None, None] for x in (codec.output_scale, codec.output_shift)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class _Tail(nn.Module):
    def __init__(self, codec: Codec, tail: Classifier) -> None:
        super().__init__()
        self.features, self.tail = _Scale(codec), tail

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.tail(self.features(x)).logits
        return logits


def sc2bench_student(student: EntropicStudent, trained: bool = True) -> Any:
    """sc2bench's model of a student's copy, images in [0, 1] to logits.

    Args:
        student: its tables must be fresh if trained.
        trained: in evaluation mode with its tables, the size of every stream being taken; if not,
            in training mode without.
    """
    from sc2bench.models.backbone import SplittableResNet
    from sc2bench.models.layer import FPBasedResNetBottleneck, MSHPBasedResNetBottleneck

    student = copy.deepcopy(student).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    codec = student.codec
    factorized = codec.short_name == "fp"
    make: Any = FPBasedResNetBottleneck if factorized else MSHPBasedResNetBottleneck
    first, last = ("encoder", "decoder") if factorized else ("g_a", "g_s")
    bottleneck = make(
        num_bottleneck_channels=codec.latent_channels,
        num_target_channels=codec.synthesis_widths[-1],
        **{
            f"{first}_channel_sizes": list(codec.analysis_widths),
            f"{last}_channel_sizes": list(codec.synthesis_widths),
        },
    )
    names = {"g_a": first, "g_s": last}
    state = {}
    for key, value in codec.state_dict().items():
        part, _, rest = key.partition(".")
        if part not in ("output_scale", "output_shift"):
            state[f"{names.get(part, part)}.{rest}"] = value
    bottleneck.load_state_dict(state)
    model = SplittableResNet(
        bottleneck,
        SimpleNamespace(layer2=_Tail(codec, student.tail), inplanes=0),
        pre_transform=_Normalize(student),
        short_module_names=["layer2"],
        analysis_config={
            "analyzes_after_compress": True,
            "analyzer_configs": [{"key": "FileSizeAnalyzer", "kwargs": {"unit": "KB"}}],
        },
    )
    if not trained:
        return model.train()
    model.eval()
    model.update()
    model.activate_analysis()
    return model


class _Images(Dataset[Any]):
    """Images of one of our data sets as sc2bench's loaders want them."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.dataset[index][:2]
        return image.float() / 255, int(label)


class Found(NamedTuple):
    """What an evaluation by sc2bench found: mean KiB by its accounting, accuracy, predictions."""

    kib: float
    accuracy: float
    predictions: list[int]


@torch.inference_mode()
def evaluate(model: Any, dataset: Any) -> Found:
    """The loop of sc2bench's script: batches of one, each coded, sized, decoded and classified."""
    model.clear_analysis()
    predictions, right = [], 0
    for image, label in DataLoader(_Images(dataset), batch_size=1, num_workers=0):
        predictions.append(int(model(image).argmax(1)))
        right += predictions[-1] == int(label)
    (analyzer,) = model.analyzers
    sizes = analyzer.file_size_list
    return Found(float(sum(sizes) / len(sizes)), right / len(sizes), predictions)


class SC2BenchTraining:
    """The published first stage through sc2bench's losses and torchdistill's loop.

    Args:
        student: fresh; a copy of it is trained.
        teacher: whose features are the target, at its points.
        beta: weight of the bits.
    """

    def __init__(self, student: EntropicStudent, teacher: Classifier, beta: float) -> None:
        import sc2bench.loss  # noqa: F401  # registers the loss of the rate
        from torchdistill.core.distillation import DistillationBox

        logging.getLogger("torchdistill").setLevel(logging.ERROR)
        for name in list(logging.root.manager.loggerDict):
            if name.startswith(("torchdistill", "main")):
                logging.getLogger(name).setLevel(logging.ERROR)
        model = sc2bench_student(student, trained=False)
        deeper = [f"layer2.tail.model.{point}" for point in student.tail.points]
        here = ["layer2.features", *deeper]
        there = [f"model.{point}" for point in teacher.points]
        entropy = [f"bottleneck_layer.{m}" for m in ENTROPY_MODELS[student.codec.short_name]]
        terms = {
            source: _feature_term(target, source)
            for source, target in zip(here, there, strict=True)
        } | {path: _rate_term(path, beta) for path in entropy}
        config = {
            "num_epochs": 1,
            "teacher": {
                "forward_proc": "forward_batch_only",
                "forward_hook": {"input": [], "output": there},
                "requires_grad": False,
            },
            "student": {
                "forward_proc": "forward_batch_only",
                "forward_hook": {"input": [], "output": [*here, *entropy]},
                "frozen_modules": ["layer2"],
            },
            "optimizer": {"key": "Adam", "kwargs": {"lr": 1e-3}},
            "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": terms}},
        }
        self.box: Any = DistillationBox(
            copy.deepcopy(teacher).to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            model,
            {},
            config,
            torch.device("cpu"),
            None,
            False,
            1.0,
        )
        self.box.teacher_model.eval()
        self.box.student_model.train()

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One step on a batch, images in [0, 1]; its loss, summed over the batch."""
        loss = self.box.forward_process(images, labels, None)
        self.box.student_model.bottleneck_layer.aux_loss().backward()
        self.box.post_forward_process(loss)
        return float(loss.detach())


def _feature_term(target: str, source: str) -> dict[str, Any]:
    """The summed squared error of one distillation point, in torchdistill's form."""
    wrapped = {
        "input": {"is_from_teacher": False, "module_path": source, "io": "output"},
        "target": {
            "uses_label": False,
            "is_from_teacher": True,
            "module_path": target,
            "io": "output",
        },
    }
    return {
        "criterion": {"key": "MSELoss", "kwargs": {"reduction": "sum"}},
        "criterion_wrapper": {"key": "SimpleLossWrapper", "kwargs": wrapped},
        "weight": 1.0,
    }


def _rate_term(path: str, beta: float) -> dict[str, Any]:
    """The bits of one latent, in torchdistill's form."""
    kwargs = {"entropy_module_path": path, "reduction": "sum"}
    return {"criterion": {"key": "BppLoss", "kwargs": kwargs}, "weight": beta}
