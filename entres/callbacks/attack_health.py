"""Whether an attack did what it is believed to do."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from entres.callbacks.base import Columns, Measurement
from entres.data import Batch
from entres.stages.evaluation import EvaluationOutput

WARNING = "this attack is weaker than it should be"
"""How a warning begins: the command line keeps it back, as its table says the same."""
ZERO_GRADIENT = 0.01
"""Share of steps without a gradient above which an attack is suspect."""
FALL = 0.02
"""Relative fall of the objective over the second half of the steps that is no accident."""
LATE_GAIN = 0.02
"""Gain over the last quarter of the steps above which an attack is not converged."""


class AttackHealth(Measurement):
    """Records how each attack fared, and warns in plain words when it looks broken.

    Columns: what the attack measured (see :class:`entres.attacks.PGD`). Figures: their means,
    ``beats_noise`` (share of images whose objective ends above that of random signs of the same
    epsilon) and ``attack_warnings`` (a list of sentences).
    """

    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        # After a defense they are the same, and a warning is to be read once.
        notes = (batch.notes or {}) if output.defense is None else {}
        return {name: values for name, values in notes.items() if values.ndim == 1}

    def summary(self, columns: Columns) -> dict[str, Any]:
        if "objective_end" not in columns:
            return {}
        mean = {
            name: columns[name].double().mean().item()
            for name in columns
            if name.endswith("_gradient") or name.startswith("objective_") or name == "late_gain"
        }
        beats = (columns["objective_end"] > columns["objective_noise"]).double().mean().item()
        warnings = attack_warnings(mean)
        for sentence in warnings:
            rank_zero_warn(f"{WARNING}: {sentence}")
        return {**mean, "beats_noise": beats, "attack_warnings": warnings}


def attack_warnings(mean: dict[str, float]) -> list[str]:
    """What is wrong with an attack, from the means over its images; empty if nothing is.

    Of an attack that takes no gradient, the figures of gradients are left out.
    """
    end, clean, noise = (mean[f"objective_{name}"] for name in ("end", "clean", "noise"))
    middle, last = mean["objective_middle"], mean["objective_last"]
    found = []
    if mean.get("masked_gradient", 0) > 0:
        found.append(
            "its own model rounds a latent, so the gradient through it is masked (preset strong "
            "does not)"
        )
    if (zero := mean.get("zero_gradient", 0)) > ZERO_GRADIENT:
        found.append(f"the gradient was zero in {100 * zero:.0f}% of the steps")
    if end <= clean:
        found.append(f"its objective did not rise over the steps ({clean:.4g} to {end:.4g})")
    if end <= noise:
        found.append(f"random noise of the same epsilon does more ({noise:.4g} against {end:.4g})")
    if last < middle - FALL * abs(middle):
        found.append(
            f"more steps made it weaker: its objective fell from {middle:.4g} at half of the steps "
            f"to {last:.4g}"
        )
    if mean["late_gain"] > LATE_GAIN:
        more = "more steps find more" if "zero_gradient" in mean else "more queries find more"
        found.append(
            "it has not converged: the last quarter of its steps still gained "
            f"{100 * mean['late_gain']:.1f}% ({more})"
        )
    return found
