"""What results call an attack whose images were stored as files hold them."""

from __future__ import annotations

import re


def stored_name(condition: str, jpeg_quality: int | None) -> str:
    """``pgd_e`` makes ``pgd_e_8bit``, or ``pgd_e_jpeg75`` where JPEG of a quality held them."""
    return f"{condition}_8bit" if jpeg_quality is None else f"{condition}_jpeg{jpeg_quality}"


def leaves_its_ball(condition: str) -> bool:
    """Whether the images of an attack of this name lie where no attack in its ball may go.

    Its results say norm and epsilon of the ball that it began from; JPEG changes what it likes.
    """
    return re.search(r"_jpeg\d+$", condition) is not None
