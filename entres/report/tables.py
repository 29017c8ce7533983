"""The paper's tables from rows of results, the paper's numbers beside them.

Every function takes the rows of one data set and gives a table; what is missing is None in it, and
named with the call of ``make`` that would measure it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from entres.report import paper
from entres.report.formats import Number, Size, Table, Value
from entres.results import CATEGORIES, SEVERITIES, Row, clean_reference, is_plain, relative_change

MEASURED = ("KiB", "against clean", "top-1", "images")
PUBLISHED = ("paper KB", "paper top-1")
EPSILONS = (2, 4, 8, 16)

Rows = Sequence[Row]


def clean(rows: Rows) -> Table:
    """Every student on clean images."""
    found = [clean_reference(own) for own in _students(rows)]
    lines = [
        (
            row.student,
            Size(row.kib_mean, row.kib_std),
            Number(row.accuracy, ".1%"),
            None if row.top5 is None else Number(row.top5, ".1%"),
            None if row.teacher_accuracy is None else Number(row.teacher_accuracy, ".1%"),
            Number(row.images, ",.0f"),
            _published(paper.CLEAN.get(row.codec) if _reference(row) else None)[0],
        )
        for row in found
        if row is not None
    ]
    header = ("student", "KiB", "top-1", "top-5", "teacher", "images", "paper KB")
    missing = [] if lines else [_make("eval-clean", rows)]
    return Table("clean", "Clean images", header, lines, missing=missing)


def table2(rows: Rows) -> Table:
    """Both priors under four corruptions of severity 1."""
    lines: list[Sequence[Value]] = []
    missing = []
    everyone = _students(rows)
    # Who was not asked at all is no gap in the table, if somebody else was.
    asked = [own for own in everyone if any(r.severity == 1 for r in own)]
    for own in asked or everyone or [[]]:
        for (codec, name), published in paper.TABLE2.items():
            if own and own[0].codec != codec:
                continue
            found = _largest(
                r for r in own if (r.corruption, r.severity, r.defense) == (name, 1, None)
            )
            if found is None:
                missing.append(_make("eval-corruptions", own or rows, CODEC=codec, SEVERITIES="1"))
            who = own[0].student if own else codec
            lines.append((who, _words(name), *_measured(found, own), *_published(published)))
    return _compared("table2", "Corruptions of severity 1 (Table 2)", "corruption", lines, missing)


def table3(rows: Rows) -> Table:
    """PGD-E over epsilon, before and after each defense."""
    keys = [("pgd_e", epsilon) for epsilon in EPSILONS]
    return _defended(rows, "table3", "PGD-E before and after the defense (Table 3)", keys)


def table4(rows: Rows) -> Table:
    """The adaptive attacks, before and after each defense."""
    keys = [("low_frequency", 4), ("regional", 4)]
    return _defended(rows, "table4", "Adaptive attacks of 4/255 (Table 4)", keys)


def attacks(rows: Rows) -> Table:
    """Every undefended attack over epsilon."""
    lines = []
    for own in _students(rows):
        found: dict[tuple[str, str, str, str, float], Row] = {}
        # Of two evaluations of one condition the larger one counts.
        for row in sorted(own, key=lambda r: r.images):
            if row.epsilon_255 is not None and row.defense is None:
                through = str(row.through or "")
                key = (row.condition, row.preset or "", through, row.norm or "", row.epsilon_255)
                found[key] = row
        for (*_, through, norm, epsilon), row in sorted(found.items(), key=lambda item: item[0]):
            ball = f"{epsilon:g}/255" + ("" if norm in ("", "linf") else f" {norm}")
            label = _words(row.condition) + (f", {row.preset}" if row.preset else "")
            label += f", through the defense ({through})" if through else ""
            lines.append((row.student, label, ball, *_measured(row, own)))
    header = ("student", "attack", "epsilon", *MEASURED)
    missing = [] if lines else [_make("eval-attacks", rows)]
    return Table("attacks", "Attacks over epsilon", header, lines, missing=missing)


def corruptions(rows: Rows) -> Table:
    """All corruptions by category, a column per severity."""
    everyone = [
        (own, {(r.corruption, r.severity): r for r in own if r.corruption and r.defense is None})
        for own in _students(rows)
    ]
    every = {(n, s) for names in CATEGORIES.values() for n in names for s in SEVERITIES}
    # Beside a student that met all of them, one that met some has its rows, and no gaps.
    whole = any(found.keys() >= every for _, found in everyone)
    lines: list[Sequence[Value]] = []
    for own, found in everyone:
        for category, names in CATEGORIES.items():
            for name in names:
                cells = [found.get((name, severity)) for severity in SEVERITIES]
                if found and (any(cells) or not whole):
                    sizes = [None if r is None else Number(r.kib_mean, ".2f") for r in cells]
                    tops = [None if r is None else Number(r.accuracy, ".1%") for r in cells]
                    lines.append((own[0].student, category, _words(name), *sizes, *tops))
    missing = (
        []
        if whole
        else [_make("eval-corruptions", own) for own, _ in everyone or [(list(rows), {})]]
    )
    header: tuple[str, ...] = ("student", "category", "corruption")
    for what in ("KiB", "top-1"):
        header += tuple(f"{what}, {severity}" for severity in SEVERITIES)
    return Table(
        "corruptions",
        "Fifteen corruptions at severities 1 to 5",
        header,
        lines,
        missing=missing,
    )


def findings(rows: Rows) -> Table:
    """What the paper says of its Figures 3a, 4a and 4b, and what is so here."""
    lines: list[Sequence[Value]] = []
    missing = []
    plain = [row for row in rows if is_plain(row)]

    def add(figure: str, what: str, found: list[tuple[float, float]], said: paper.Change) -> None:
        kib, accuracy = (fmean(v) for v in zip(*found, strict=True)) if found else (None, None)
        lines.append(
            (
                figure,
                what,
                _percent(kib),
                _points(accuracy),
                Number(len(found), "d"),
                Number(round(said.kib / 100, 6), "+.1%"),
                None if said.accuracy is None else Number(said.accuracy, "+.1f"),
            )
        )

    for name, said in paper.FIG3A.items():
        severe = [
            (own, _largest(r for r in own if (r.corruption, r.severity) == (name, 5)))
            for own in _students(plain)
        ]
        of_as_many = [
            (clean_reference(own, row.images), row) for own, row in severe if row is not None
        ]
        changes = _changes(of_as_many)
        add("Fig. 3a", f"{_words(name)}, severity 5, against clean", changes, said)
        if not changes:
            missing.append(_make("eval-corruptions", rows, SEVERITIES="5"))
    presets = sorted({r.preset for r in plain if r.preset}) or ["strong"]
    claims: list[tuple[str, float, str, str, paper.Change]] = [
        *(("Fig. 4a", 4, "mshp", attack, said) for attack, said in paper.FIG4A.items()),
        *(("Fig. 4b", 8, codec, attack, said) for (codec, attack), said in paper.FIG4B.items()),
    ]
    for preset in presets:
        for figure, epsilon, codec, attack, said in claims:
            pairs = [
                (
                    _attacked(own, "noise", epsilon),
                    _attacked([r for r in own if r.preset == preset], attack, epsilon),
                )
                for own in _students(plain)
                if codec == own[0].codec
            ]
            what = f"{_words(attack)} ({preset}), {epsilon}/255, against random noise, {codec}"
            add(figure, what, _changes(pairs), said)
            if not _changes(pairs):
                missing.append(_make("eval-attacks", rows, CODEC=codec, PRESET=preset))
    return Table(
        "findings",
        "What the paper reads from Figures 3a, 4a and 4b",
        (
            "figure",
            "what",
            "size",
            "top-1, points",
            "students",
            "paper size",
            "paper top-1",
        ),
        lines,
        "Means over the students that were measured; the paper's are over its networks or betas.",
        list(dict.fromkeys(missing)),
    )


TABLES: list[Callable[[Rows], Table]] = [
    clean,
    findings,
    table2,
    table3,
    table4,
    attacks,
    corruptions,
]
"""Every table, in the order of a report."""

# --- what they share -----------------------------------------------------------------------------


def _defended(rows: Rows, name: str, title: str, keys: Iterable[tuple[str, int]]) -> Table:
    lines: list[Sequence[Value]] = []
    missing = []
    published = {("pgd_e", e, when): p for (e, when), p in paper.TABLE3.items()}
    published |= {(attack, 4, when): p for (attack, when), p in paper.TABLE4.items()}
    keys = list(keys)
    conditions = list(dict.fromkeys(condition for condition, _ in keys))
    epsilons = list(dict.fromkeys(epsilon for _, epsilon in keys))
    asked = {"ATTACK": " ".join(conditions), "EPSILONS": " ".join(map(str, epsilons))}
    attacked = [
        r
        for r in rows
        if r.condition in conditions
        and r.norm in (None, "linf")
        # An attack that knows the defense is another experiment.
        and r.through in (None, "oblivious")
    ]
    students = [own for own in _students(rows) if any(r.defense for r in own if r in attacked)]
    for own in students or [[]]:
        found = [r for r in attacked if r in own]
        presets = sorted({r.preset or "" for r in found}) or [""]
        for preset in presets:
            of_preset = [r for r in found if (r.preset or "") == preset]
            defenses = sorted({r.defense_label or "" for r in of_preset if r.defense}) or ["after"]
            for condition, epsilon in keys:
                for when in ("before", *defenses):
                    row = _largest(
                        r
                        for r in of_preset
                        if (r.condition, r.epsilon_255) == (condition, epsilon)
                        and (r.defense_label == when if when != "before" else r.defense is None)
                    )
                    said = published[condition, epsilon, "before" if when == "before" else "after"]
                    what = f"{_words(condition)} {epsilon}/255" + (f", {preset}" if preset else "")
                    who = own[0].student if own else ""
                    what += f": {when}"
                    lines.append((who, what, *_measured(row, own), *_published(said)))
                    if row is None:
                        # The paper defends the mean-scale hyperprior.
                        of = own or [r for r in rows if r.codec == "mshp"] or rows
                        missing.append(_make("eval-defense", of, **asked))
    return _compared(name, title, "attack: defense", lines, missing)


def _compared(
    name: str, title: str, what: str, lines: Sequence[Sequence[Value]], missing: Iterable[str]
) -> Table:
    note = "The paper: ImageNet, ResNet-50, beta 0.08."
    header = ("student", what, *MEASURED, *PUBLISHED)
    return Table(name, title, header, lines, note, list(dict.fromkeys(missing)))


def _measured(row: Row | None, own: Rows) -> tuple[Value, ...]:
    """The columns of :data:`MEASURED`; the change is against clean images of the same number."""
    if row is None:
        return (None,) * len(MEASURED)
    reference = clean_reference(own, row.images)
    change = None if reference is None else relative_change(row.kib_mean, reference.kib_mean)
    size = Size(row.kib_mean, row.kib_std)
    return (size, _percent(change), Number(row.accuracy, ".1%"), Number(row.images, ",.0f"))


def _published(said: paper.Published | None) -> tuple[Value, Value]:
    if said is None:
        return None, None
    top1 = None if said.accuracy is None else Number(round(said.accuracy / 100, 6), ".1%")
    return Size(said.kib, said.kib_std), top1


def _students(rows: Rows) -> list[list[Row]]:
    """The rows of each student."""
    order = sorted(rows, key=lambda r: (r.backbone, r.codec, r.beta, r.recipe))
    return [[r for r in order if r.student == s] for s in dict.fromkeys(r.student for r in order)]


def _attacked(own: Rows, condition: str, epsilon: float) -> Row | None:
    return _largest(r for r in own if (r.condition, r.epsilon_255) == (condition, epsilon))


def _largest(rows: Iterable[Row]) -> Row | None:
    """Of several evaluations of one condition the one of most images."""
    return max(rows, key=lambda r: r.images, default=None)


def _changes(pairs: Iterable[tuple[Row | None, Row | None]]) -> list[tuple[float, float]]:
    """Relative change of the size, and top-1 in points, of those pairs that are whole."""
    return [
        (relative_change(after.kib_mean, before.kib_mean), 100 * (after.accuracy - before.accuracy))
        for before, after in pairs
        if before is not None and after is not None
    ]


def _reference(row: Row) -> bool:
    return row.beta == 0.08 and row.backbone.startswith("resnet50")


def _percent(change: float | None) -> Number | None:
    return None if change is None else Number(change, "+.1%")


def _points(change: float | None) -> Number | None:
    return None if change is None else Number(change, "+.1f")


def _words(name: str) -> str:
    return {"pgd_e": "PGD-E", "pgd_acc": "PGD-Acc"}.get(name, name.replace("_", " "))


NAMED_DATA = ("photos", "imagenet", "imagenette", "cifar10")
ROBUST = re.compile(r"(joint|frozen-encoder)-([a-z_]+)([\d.]+)")


def _make(target: str, rows: Rows, **variables: str) -> str:
    """The call that would measure what is missing, for the student of the first row."""
    of = {}
    if rows:
        row = rows[0]
        data = row.images_of
        # Any other data are folders of images, which are called after their folder.
        data = data if data in NAMED_DATA else "imagefolder"
        of = {"DATA": data} | ({} if data == "photos" else {"DATA_DIR": "/path/to/it"})
        of |= {"BACKBONE": row.backbone, "CODEC": row.codec, "BETA": f"{row.beta:g}"}
        if trained_on := ROBUST.fullmatch(row.recipe):
            recipe, attack, epsilon = trained_on.groups()
            of |= {"RECIPE": recipe, "ROBUST": attack, "ROBUST_EPSILON": epsilon}
        else:
            of["RECIPE"] = row.recipe
    return shlex.join(["make", target, *(f"{k}={v}" for k, v in (of | variables).items())])
