"""The verbs of the command line that are not training; each is a function with typed arguments."""

from __future__ import annotations

from collections.abc import Callable

from entres.verbs.defenses import strongest, threshold, tradeoff
from entres.verbs.reproduce import reproduce
from entres.verbs.results import corruptions, draw_maps, figures, report, results
from entres.verbs.students import export, import_published
from entres.verbs.watching import dashboard

VERBS: dict[str, Callable[..., None]] = {
    "results": results,
    "corruptions": corruptions,
    "figures": figures,
    "report": report,
    "reproduce": reproduce,
    "dashboard": dashboard,
    "draw-maps": draw_maps,
    "strongest": strongest,
    "threshold": threshold,
    "tradeoff": tradeoff,
    "export": export,
    "import-sc2bench": import_published,
}
