"""The verbs of the command line, by what they are for. Importing them imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable

from entres.experiment import TARGETS
from entres.verbs.budget import budget
from entres.verbs.check import check
from entres.verbs.compare import compare
from entres.verbs.costs import cost
from entres.verbs.data import check_data
from entres.verbs.defenses import strongest, threshold, tradeoff
from entres.verbs.link import link
from entres.verbs.matrices import reproduce, sweep
from entres.verbs.results import corruptions, draw_maps, figures, report, results
from entres.verbs.show import show
from entres.verbs.streams import decode, encode
from entres.verbs.students import export, import_published
from entres.verbs.targets import verb_of
from entres.verbs.universal import learn_universal
from entres.verbs.watching import dashboard

GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "train and evaluate": {target: verb_of(target) for target in TARGETS},
    "attacks": {"learn-universal": learn_universal},
    "many experiments": {"reproduce": reproduce, "sweep": sweep},
    "results": {
        "results": results,
        "report": report,
        "figures": figures,
        "compare": compare,
        "corruptions": corruptions,
        "tradeoff": tradeoff,
        "threshold": threshold,
        "strongest": strongest,
        "budget": budget,
        "link": link,
        "draw-maps": draw_maps,
        "dashboard": dashboard,
    },
    "students": {
        "show": show,
        "encode": encode,
        "decode": decode,
        "cost": cost,
        "export": export,
        "import-sc2bench": import_published,
    },
    "data and machine": {"check-data": check_data, "check": check},
}
"""Every verb by its name, group by group."""

VERBS = {name: verb for group in GROUPS.values() for name, verb in group.items()}
