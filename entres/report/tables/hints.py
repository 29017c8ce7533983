"""The calls that would measure what is missing."""

from __future__ import annotations

import re
import shlex

from entres.report.tables.common import Rows

NAMED_DATA = ("photos", "imagenet", "imagenette", "cifar10")
ROBUST = re.compile(r"(joint|frozen-encoder)-([a-z_]+)([\d.]+)")


def make_call(target: str, rows: Rows, **variables: str) -> str:
    """The call of ``make`` for the student of the first row; for the default one without rows."""
    student: dict[str, str] = {}
    if rows:
        row = rows[0]
        # Any other data are folders of images, which are called after their folder.
        data = row.images_of if row.images_of in NAMED_DATA else "imagefolder"
        student = {"DATA": data} | ({} if data == "photos" else {"DATA_DIR": "/path/to/it"})
        student |= {"BACKBONE": row.backbone, "CODEC": row.codec, "BETA": f"{row.beta:g}"}
        if trained_on := ROBUST.fullmatch(row.recipe):
            recipe, attack, epsilon = trained_on.groups()
            student |= {"RECIPE": recipe, "ROBUST": attack, "ROBUST_EPSILON": epsilon}
        else:
            student["RECIPE"] = row.recipe
    assignments = [f"{name}={value}" for name, value in (student | variables).items()]
    return shlex.join(["make", target, *assignments])
