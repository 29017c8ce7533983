"""Numbers that are not finite end a run: nothing that follows from them is a result."""

from __future__ import annotations

from torch import Tensor

from entres.errors import EntresError


class NotFiniteError(EntresError, ArithmeticError):
    """A loss, a gradient or an output that is NaN or infinite."""


def require_finite(what: str, value: Tensor, step: int | None = None) -> None:
    """Stop at the first number that is not finite.

    Args:
        what: is looked at, for the message.
        value: of any shape.
        step: of the training, where there is one.

    Raises:
        NotFiniteError: if any element is NaN or infinite.
    """
    if value.isfinite().all():
        return
    if step is None:
        raise NotFiniteError(
            f"{what} is not finite: the weights or the images are damaged, or the precision is too "
            "low (--trainer.precision 32-true)"
        )
    raise NotFiniteError(
        f"{what} is not finite at step {step}: the training has diverged. Lower the rate of "
        "learning (--model.optimizer.init_args.lr), or raise the precision (--trainer.precision "
        "32-true or bf16-mixed); nothing was written, and the checkpoint before it is good"
    )
