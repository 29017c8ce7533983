"""A matrix as files for engines that hand out work: SLURM's job arrays and W&B's sweeps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import yaml

from entres.experiment.matrix import Matrix

SLURM = """\
#!/bin/bash
# {matrix}: {count} cells in {phases} phases, one array task per cell. The cells of a phase are
# independent of each other and may run at once; those of a later phase use what the earlier ones
# trained and wait for them, so that no student is trained twice. All of it:
#
{submissions}
#
# After a failure the rest goes on (afterany): a cell that needs the failed one says so and fails. A
# cell that is finished ends at once, so submit the same again.
#SBATCH --job-name=entres
#SBATCH --output=slurm-%x-%A_%a.out
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00

set -eu
case "${{1:?name a phase: {names}}}" in
{cases}
*) echo "no phase $1; there is: {names}" >&2; exit 2 ;;
esac
{command} --cell "${{cells[$SLURM_ARRAY_TASK_ID]}}"
"""

SWEEP_NOTE = """\
# W&B's grid search as a queue of cells: wandb sweep {file}, then an agent on every machine
# (wandb agent ID). {order}
"""


def slurm_script(matrix: Matrix, command: Sequence[str], file: str) -> str:
    """An sbatch file with an array per phase; the head of it says how to submit them in order."""
    submissions, cases, before = [], [], ""
    for number, (phase, cells) in enumerate(matrix.phases.items()):
        job = f"sbatch --parsable {before}--array=0-{len(cells) - 1} {shlex.quote(file)} {phase}"
        submissions.append(f"#   job{number}=$({job})")
        before = f"--dependency=afterany:$job{number} "
        names = " ".join(shlex.quote(cell.name) for cell in cells)
        cases.append(f"{phase}) cells=({names}) ;;")
    return SLURM.format(
        matrix=matrix.name,
        count=len(matrix.cells),
        phases=len(matrix.phases),
        submissions="\n".join(submissions),
        names=" ".join(matrix.phases),
        cases="\n".join(cases),
        command=shlex.join(command),
    )


def sweep_file(matrix: Matrix, command: Sequence[str], file: str) -> str:
    """A sweep over the cells of a matrix, in their order."""
    order = "One agent takes the cells in their order."
    if len(matrix.phases) > 1:
        order += (
            "\n# With several, write a file per phase (--phase NAME) and run one after the other:"
            f" {', '.join(matrix.phases)}.\n# A cell whose students are not trained yet says so and"
            " fails."
        )
    sweep = {
        "name": f"entres-{matrix.name}",
        "project": "entres",
        "method": "grid",
        "parameters": {"cell": {"values": [cell.name for cell in matrix.cells]}},
        "command": [*command, "${args}"],
    }
    text: str = yaml.safe_dump(sweep, sort_keys=False)
    return SWEEP_NOTE.format(file=file, order=order) + text
