"""The means that the paper takes in its Figures 3a, 4a and 4b, and the same ones here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from entres.experiment.experiment import RECIPES
from entres.report import paper
from entres.report.formats import Table, Value
from entres.report.paired import Pair
from entres.report.students import by_student, student_names
from entres.report.tables.common import Rows, changes, few, paired, percent, points, words
from entres.report.tables.hints import calls
from entres.results import Row, beside, clean_beside, is_plain, largest

Line = tuple[Value, ...]
Student = Sequence[Row]
"""The rows of one."""
HEADER = ("figure", "what", "students", "size", "top-1, points", "paper size", "paper top-1")
CODEC, BETA = "mshp", 0.08
"""Of the paper's students, where its text says nothing else."""


def figure_means(rows: Rows) -> Table:
    """What the paper reads from its figures, beside the same means over like students here.

    Fig. 3a is a mean over betas (of one backbone), Fig. 4a one over backbones (of one beta), both
    of the mean-scale hyperprior; Fig. 4b is of single students. Students of another recipe or seed
    have lines of their own, and those that were trained on attacks are left out.
    """
    plain = [row for row in rows if is_plain(row) and row.recipe in RECIPES]
    lines, missing = [], []
    for some, lacking in (_of_corruptions(plain, rows), _of_attacks(plain, rows)):
        lines += some
        missing += lacking
    said = "means over the students named; the paper: Fig. 3a over betas, Fig. 4a over backbones"
    note = "; ".join(filter(None, (said, paired(lines), few(plain))))
    title = "Means as the paper takes them in Figures 3a, 4a and 4b"
    unique = list(dict.fromkeys(missing))
    return Table("figure_means", title, HEADER, lines, note, unique)


def _of_corruptions(plain: Rows, rows: Rows) -> tuple[list[Line], list[str]]:
    lines: list[Line] = []
    missing: list[str] = []
    students = [s for s in by_student(plain) if s[0].codec == CODEC]
    for name, published in paper.FIG3A.items():

        def pair(student: Student, name: str = name) -> tuple[Row | None, Row | None]:
            severe = largest(r for r in student if (r.corruption, r.severity) == (name, 5))
            return None if severe is None else clean_beside(student, severe), severe

        what = f"{words(name)}, severity 5, against clean"
        found = _lines("Fig. 3a", what, _alike(students, "beta"), pair, published)
        lines += found or [_line("Fig. 3a", what, f"{CODEC}, any beta", [], published)]
        if not found:
            whose = [row for student in students for row in student] or rows
            missing += calls("eval-corruptions", whose, codec=CODEC, severities="5")
    return lines, missing


def _of_attacks(plain: Rows, rows: Rows) -> tuple[list[Line], list[str]]:
    lines: list[Line] = []
    missing: list[str] = []
    claims = [
        *(("Fig. 4a", 4, CODEC, attack, change) for attack, change in paper.FIG4A.items()),
        *(("Fig. 4b", 8, codec, attack, change) for (codec, attack), change in paper.FIG4B.items()),
    ]
    for preset in sorted({row.preset for row in plain if row.preset}) or ["strong"]:
        for figure, epsilon, codec, attack, published in claims:

            def pair(
                student: Student, attack: str = attack, epsilon: int = epsilon, preset: str = preset
            ) -> tuple[Row | None, Row | None]:
                after = _attacked([r for r in student if r.preset == preset], attack, epsilon)
                noise = None if after is None else _attacked(student, "noise", epsilon, after)
                return noise, after

            students = [s for s in by_student(plain) if (s[0].codec, s[0].beta) == (codec, BETA)]
            means = _alike(students, "backbone") if figure == "Fig. 4a" else [[s] for s in students]
            what = f"{words(attack)} ({preset}), {epsilon}/255, against random noise"
            found = _lines(figure, what, means, pair, published)
            lines += found or [_line(figure, what, f"{codec}, beta {BETA:g}", [], published)]
            if not found:
                whose = [row for student in students for row in student] or rows
                missing += calls("eval-attacks", whose, codec=codec, beta=BETA, preset=preset)
    return lines, missing


def _alike(students: Sequence[Student], axis: str) -> list[list[Student]]:
    """Students that differ in one thing (``beta`` or ``backbone``) only, to take means over.

    Several at one place of that axis would weigh it double, and are not like the others: then each
    of the students stands alone.
    """
    groups: dict[tuple[object, ...], list[Student]] = defaultdict(list)
    names = [name for name in ("backbone", "beta", "recipe", "seed") if name != axis]
    for student in students:
        groups[tuple(getattr(student[0], name) for name in names)].append(student)
    means = []
    for group in groups.values():
        places = Counter(getattr(student[0], axis) for student in group)
        means += [group] if max(places.values()) == 1 else [[student] for student in group]
    return means


def _lines(
    figure: str,
    what: str,
    means: Sequence[Sequence[Student]],
    pair: Callable[[Student], tuple[Row | None, Row | None]],
    published: paper.Change,
) -> list[Line]:
    """A line for each mean of which something was measured."""
    lines = []
    named = student_names([row for group in means for student in group for row in student])
    for group in means:
        pairs: list[Pair] = []
        for before, after in map(pair, group):
            if before is not None and after is not None:
                pairs.append((before, after))
        if pairs:
            who = _who([after for _, after in pairs], named)
            lines.append(_line(figure, what, who, pairs, published))
    return lines


def _who(students: Rows, names: dict[tuple[str, str], str]) -> str:
    """One by its name; several by what they share, and where they differ."""
    if len(students) == 1:
        return names[students[0].whose]
    cards = [
        (row.backbone, row.codec, f"beta {row.beta:g}", row.recipe, f"seed {row.seed}")
        for row in students
    ]
    parts = []
    for values in zip(*cards, strict=True):
        different = list(dict.fromkeys(values))
        parts.append(", ".join(different) if len(different) > 1 else different[0])
    return " · ".join(part for part in parts if part != "seed 0")


def _line(
    figure: str,
    what: str,
    who: str,
    pairs: Sequence[Pair],
    published: paper.Change,
) -> Line:
    return (
        figure,
        what,
        who,
        *(changes(pairs) if pairs else (None, None)),
        percent(round(published.kib / 100, 6)),
        points(published.accuracy),
    )


def _attacked(rows: Student, condition: str, epsilon: float, near: Row | None = None) -> Row | None:
    found = [r for r in rows if (r.condition, r.epsilon_255) == (condition, epsilon)]
    return largest(found if near is None else beside(found, near))
