"""entres: how long is the bitstream of a split network, and who can make it longer?

What most programs need stands here; each name is imported when it is asked for, so that importing
``entres`` costs nothing.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entres.attacks import PGDE as PGDE
    from entres.attacks import LowFrequencyPGD as LowFrequencyPGD
    from entres.attacks import PGDAcc as PGDAcc
    from entres.attacks import PGDJoint as PGDJoint
    from entres.attacks import RegionalPGD as RegionalPGD
    from entres.attacks import SignNoise as SignNoise
    from entres.attacks import StudentVictim as StudentVictim
    from entres.bitstream import Bitstream as Bitstream
    from entres.bitstream import BitstreamError as BitstreamError
    from entres.corruptions import CORRUPTIONS as CORRUPTIONS
    from entres.defenses import MaskedChambolle as MaskedChambolle
    from entres.defenses import MaskedTV as MaskedTV
    from entres.errors import EntresError as EntresError
    from entres.experiment import Experiment as Experiment
    from entres.models import EntropicStudent as EntropicStudent
    from entres.models import StudentCard as StudentCard
    from entres.models import build_backbone as build_backbone
    from entres.models import load_student as load_student
    from entres.records import read_records as read_records
    from entres.results import read_summary as read_summary

# compressai scripts some functions at import, which recent torch deprecates: no news to a user.
warnings.filterwarnings(
    "ignore", message="`torch.jit.script` is deprecated", category=FutureWarning
)

__version__ = "0.1.0"

_HOMES = {
    "attacks": (
        "LowFrequencyPGD",
        "PGDAcc",
        "PGDE",
        "PGDJoint",
        "RegionalPGD",
        "SignNoise",
        "StudentVictim",
    ),
    "bitstream": ("Bitstream", "BitstreamError"),
    "corruptions": ("CORRUPTIONS",),
    "defenses": ("MaskedChambolle", "MaskedTV"),
    "errors": ("EntresError",),
    "experiment": ("Experiment",),
    "models": ("EntropicStudent", "StudentCard", "build_backbone", "load_student"),
    "records": ("read_records",),
    "results": ("read_summary",),
}
"""Where each name is defined."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'entres' has no attribute {name!r}")
    value = getattr(import_module(f"entres.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
