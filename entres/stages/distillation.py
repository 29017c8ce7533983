"""Stage 1: the codec learns to give the teacher's features in few bits."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from entres.models import StudentOutput, TailOutput
from entres.stages.student import StudentStage


class Distillation(StudentStage):
    """Minimize sum_k w_k ||f_k(student) - f_k(teacher)||^2 + beta * bits, the tail being frozen.

    The points are the codec's output and the deeper stages behind it; those are the teacher's, so
    their errors reach the codec through them.
    """

    recipe = "distilled"
    has_teachers_tail = True

    def frozen(self) -> Iterable[nn.Module]:
        return [self.teacher, self.student.tail]

    def objective(
        self, output: StudentOutput, teacher: TailOutput, labels: Tensor
    ) -> dict[str, Tensor]:
        distortion = self.distortion(output, teacher)
        return {
            "loss": distortion + self.warm_beta() * self.rate(output),
            "distortion": distortion,
        }
