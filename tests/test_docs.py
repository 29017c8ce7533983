"""The documentation's examples run as they stand, and name what there is."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
from pathlib import Path

import pytest

from entres.cli import LINES, MATRIX_VARIABLES, main
from entres.experiment import options
from entres.verbs import VERBS

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(
    re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/extend.md").read_text(), re.M | re.DOTALL
    )
)


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_examples_of_ones_own_run_as_they_stand(
    title: str,
    tmp_path: Path,
    student_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    demo = tmp_path / "runs" / "photos" / "test_resnet-mshp-beta0.08-joint"
    demo.mkdir(parents=True)
    student_file.rename(demo / student_file.name)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    commands = []
    for language, text in FENCE.findall(EXAMPLES[title]):
        if language == "python":
            Path(text.split("\n", 1)[0].removeprefix("# ")).write_text(text)
        else:
            commands += text.replace("\\\n", "").splitlines()
    assert commands
    for command in commands:
        # In this process: most of the time of a new one would go into imports.
        program, *words = shlex.split(command)
        if program == "entres":
            main(words)
        else:
            assert program == "python"
            monkeypatch.setattr("sys.argv", words)
            runpy.run_path(str(tmp_path / words[0]), run_name="__main__")
    if title == "An attack":
        assert "block 8/255 (strong, 3 steps)" in capsys.readouterr().out
    if title == "A defense":
        assert "through the defense (unrolled)" in capsys.readouterr().out
    if title == "A measurement":
        summary = next(tmp_path.glob("runs/*/*/eval/clean/summary.json")).read_text()
        assert "confidence_mean" in summary


PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "zoo").glob("*.md")])
MAKEFILE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
OF_MAKE = {"PYTHON", "DRY_RUN"}


def code_of(page: Path) -> list[str]:
    """Lines of a page that are typed somewhere, and code inside of sentences; no comments."""
    text = page.read_text()
    blocks = "\n".join(
        body for language, body in FENCE.findall(text) if language in ("", "bash")
    ).replace("\\\n", " ")
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    return [line.split(" # ")[0].strip() for line in [*blocks.splitlines(), *inline]]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_names_what_there_is(page: Path) -> None:
    named = set(re.findall(r"\bconfigs/[\w./-]+\.yaml", page.read_text()))
    missing = [f"no file {name}" for name in named if not (ROOT / name).is_file()]
    for line in code_of(page):
        if call := re.match(r"(?:srun )?(?:\S+/)?entres ([a-z][\w-]*)(.*)", line):
            verb, rest = call.groups()
            if verb not in [*VERBS, *LINES]:
                missing.append(f"no verb {verb}: {line}")
            elif verb in VERBS:
                parameters = {
                    name.rstrip("_") for name in inspect.signature(VERBS[verb]).parameters
                }
                if parameters & {"experiment", "given"}:
                    parameters |= options().keys()
                # What --extra holds are flags of fit and test.
                rest = re.sub(r"--extra (\"[^\"]*\"|'[^']*')", "--extra", rest)
                flags = set(re.findall(r"--(\w+)(?![\w.])", rest))
                missing += [f"no flag --{flag}: {line}" for flag in flags - parameters]
        if call := re.match(r"(?:\w+=\S+ )*make ([a-z][\w-]*)(.*)", line):
            target, rest = call.groups()
            if target not in {*VERBS, *MAKEFILE_TARGETS}:
                missing.append(f"no target {target}: {line}")
            known = {name.upper() for name in [*options(), *MATRIX_VARIABLES]} | OF_MAKE
            variables = set(re.findall(r"(?<![\w\"'.-])([A-Z][A-Z_]*)=", rest))
            missing += [f"no variable {name}: {line}" for name in variables - known]
    assert not missing


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_a_photo_goes_there_and_back_as_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    monkeypatch.chdir(tmp_path)
    examples = [body for language, body in FENCE.findall((ROOT / page).read_text()) if language]
    ours = [body for body in examples if "load_student" in body]
    assert any("from_bytes" in body for body in ours)
    for number, body in enumerate(ours):
        (tmp_path / f"{number}.py").write_text(body)
        found = runpy.run_path(str(tmp_path / f"{number}.py"))
    assert found["logits"].shape == (1, 1000)
    assert len((tmp_path / "cat.entres").read_bytes()) > 100


ANY_FENCE = re.compile(r"^```[^\n`]*\n.*?^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md"), *ROOT.glob("zoo/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    text = ANY_FENCE.sub("", page.read_text())
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = []
    for link in links:
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (heading and heading not in _headings(target)):
            missing.append(link)
    assert missing == []


def _headings(page: Path) -> set[str]:
    """The names by which a page's headings are linked to."""
    titles = re.findall(r"^#+ (.+)$", ANY_FENCE.sub("", page.read_text()), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in kept}
