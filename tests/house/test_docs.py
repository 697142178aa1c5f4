"""What the README and the pages say is true: commands parse, examples run, links, files and messages exist."""

from __future__ import annotations

import argparse
import ast
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_runs import make_job
from doc_pages import ADD_YOUR_OWN, DOCS, FILES, PAGES, ROOT, blocks, command_lines, program_arguments, titled
from warm_python import warm_python

from lightning_tl.choosing.study.weights import Weights
from lightning_tl.choosing.sweep.space import Space
from lightning_tl.cli import main
from lightning_tl.cli.commands.advise_options import read_advise_options
from lightning_tl.cli.commands.attention_options import read_attention_options
from lightning_tl.cli.commands.chips_options import read_chips_options
from lightning_tl.cli.commands.compare_options import read_compare_options
from lightning_tl.cli.commands.distance_options import DriftOptions, read_distance_options
from lightning_tl.cli.commands.embed_options import read_embed_options
from lightning_tl.cli.commands.export_options import read_export_options
from lightning_tl.cli.commands.forget_options import read_forget_options
from lightning_tl.cli.commands.index_options import read_index_options
from lightning_tl.cli.commands.map_options import read_map_options
from lightning_tl.cli.commands.push_options import read_push_options
from lightning_tl.cli.commands.recommend_options import read_recommend_options
from lightning_tl.cli.commands.serve_options import read_serve_options
from lightning_tl.cli.commands.sweep_options import read_sweep_options
from lightning_tl.cli.reading.recipes import recipes

LINES = {line: page for page, text in PAGES.items() for line in command_lines(text)}
OWN = {line: arguments for line in LINES if (arguments := program_arguments(line)) is not None}
OWN_RECIPES = {"mine.yaml", "advised.yaml"} | {name for text in ADD_YOUR_OWN.values() for name in titled(text)}
SOURCES = [path for room in ("lightning_tl", "datamodules") for path in (ROOT / room).rglob("*.py")]


# ---------------------------------------------------------------- commands


def _own_files() -> None:
    """In the current folder, what the pages put there: recipes and modules of the user's own."""
    for name in ("mine.yaml", "advised.yaml"):
        Path(name).write_text(recipes()["satellite_vit"].read_text())
    for text in ADD_YOUR_OWN.values():
        for name, content in titled(text).items():
            Path(name).write_text(content)


def _parse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, *([] if "--print_config" in arguments else ["--print_config"])])
    said = capsys.readouterr()
    assert exit_.value.code == 0, said.err
    return said.out


@pytest.mark.parametrize("line", [line for line, arguments in OWN.items() if "RUN_FOLDER" not in line and arguments])
def test_commands_parse(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if any(name in line for name in OWN_RECIPES) or "arrays." in line:
        _own_files()
        monkeypatch.syspath_prepend(str(tmp_path))
    arguments = OWN[line]
    if "--resume" in arguments:
        return  # of a folder that the command before it has made
    if arguments[0] == "serve" and "--help" not in arguments:
        read_serve_options(arguments[1:])
        return
    if arguments[0] == "advise":
        read_advise_options(arguments[1:])
        return
    if arguments[0] == "chips":
        assert "chips" in read_chips_options(arguments[1:]).output.parts
        return
    if arguments[0] == "attention":
        (tmp_path / "my_images").mkdir()
        assert read_attention_options(arguments[1:]).images.name == "my_images"
        return
    if arguments[0] == "compare":
        read_compare_options(arguments[1:])
        return
    if arguments[0] == "sweep":
        for text in read_sweep_options(arguments[1:]).search:
            Space.parse(text)
        return
    if "help" in line:
        try:
            main(arguments)
        except SystemExit as exit_:
            assert exit_.code == 0
        return
    _parse(arguments, capsys)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of finished runs by what they read; only their configurations are there."""
    folder = tmp_path_factory.mktemp("finished")
    kinds = {"images": "satellite_fine_tune", "texts": "text_linear_probe", "logs": "streamrec_two_tower"}
    for kind, recipe in kinds.items():
        (folder / kind / "checkpoints").mkdir(parents=True)
        (folder / kind / "checkpoints" / "some.ckpt").touch()
        (folder / kind / "config.yaml").write_text(recipes()[recipe].read_text())
    return {kind: folder / kind for kind in kinds}


@pytest.mark.parametrize("line", [line for line in OWN if "RUN_FOLDER" in line])
def test_commands_of_a_finished_run_parse(
    line: str,
    finished: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *rest = OWN[line]
    kind = "logs" if command == "recommend" else "texts" if "--data.path" in line or "text_" in line else "images"
    if command == "index":
        words = [word.replace("RUN_FOLDER", str(finished["logs"])) for word in rest]
        checkpoint = f"--ckpt_path={finished['logs'] / 'checkpoints' / 'some.ckpt'}"
        assert read_index_options([*words, checkpoint]).action in ("build", "refresh")
        return
    if command == "compare":
        given = read_compare_options([word.replace("RUN_FOLDER", str(finished["images"])) for word in rest]).weights
        assert [Weights.parse(text).name for text in given] == ["shipped", "mine", "nothing"]
        return
    if not command.startswith("--"):
        run, *rest = [word.replace("RUN_FOLDER", str(finished[kind])) for word in rest]
    checkpoint = f"--ckpt_path={finished[kind] / 'checkpoints' / 'some.ckpt'}"
    if command.startswith("--"):
        (tmp_path / "predictions").mkdir()
        (tmp_path / "predictions" / "test.parquet").touch()  # a run that was tested
        _parse([word.replace("RUN_FOLDER", str(tmp_path)) for word in OWN[line]], capsys)
    elif command == "embed":
        read_embed_options([run, *rest, checkpoint])
    elif command == "attention":
        (tmp_path / "my_images").mkdir()
        assert read_attention_options([run, *rest]).output == finished[kind] / "attention"
    elif command == "map":
        assert read_map_options([run, *rest, checkpoint]).output.name == "landcover.tif"
    elif command == "serve":
        assert read_serve_options([run, *rest]).port in (8000, 9000)
    elif command == "export":
        assert read_export_options([run, *rest, checkpoint]).output.name == "bundle"
    elif command == "forget":
        assert read_forget_options([run, *rest, checkpoint]).source == "my_images"
    elif command == "distance":
        assert isinstance(read_distance_options([run, *rest]), DriftOptions)
    elif "--priors" in line:
        assert rest[-1] == "--priors=estimated"
        _parse([command, run, *(word for word in rest if not word.startswith("--priors")), checkpoint], capsys)
    elif command == "push":
        assert read_push_options([run, *rest]).repo == "me/tiles"
    elif command == "recommend":
        assert read_recommend_options([run, *rest, checkpoint]).k == 20
    else:
        _parse([command, run, *rest, checkpoint], capsys)


@pytest.mark.parametrize("line", [line for line in LINES if re.match(r"python scripts/(benchmarks|tools)/", line)])
def test_commands_of_benchmarks_parse(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the parser of the script itself, which goes no further."""

    class ParsedError(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def only_parse(self: argparse.ArgumentParser, arguments: Any = None, namespace: Any = None) -> Any:
        parse(self, arguments, namespace)
        raise ParsedError

    script, *arguments = shlex.split(line.replace("runs/satellite", "satellite").split("  #")[0])[1:]
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.setattr(sys, "path", [str((ROOT / script).parent), *sys.path])
    if "argparse" not in (ROOT / script).read_text(encoding="utf-8"):
        return  # reads its only word itself
    with pytest.raises(ParsedError):
        runpy.run_path(str(ROOT / script), run_name="__main__")


@pytest.mark.parametrize("line", [line for line in LINES if "torchrun" in line])
def test_torchrun_takes_its_options(line: str) -> None:
    from torch.distributed.run import get_args_parser

    words = shlex.split(line)
    given = get_args_parser().parse_args(words[words.index("torchrun") + 1 :])
    assert (ROOT / given.training_script).is_file()


def test_extras_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        name
        for text in PAGES.values()
        for names in re.findall(r"-e \"\.\[(\S+)\]\"", text)
        for name in names.split(",")
    }
    assert named and named <= set(extras)


def test_recipes_exist_and_are_listed() -> None:
    named = {name for text in PAGES.values() for name in re.findall(r"--recipe[ =](\w+)(?![\w./])", text)}
    own = {name.removesuffix(".yaml") for name in OWN_RECIPES}
    assert named - own - {"NAME"} <= set(recipes())
    table = PAGES["docs/recipes.md"]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) >= set(recipes()), "the table lists them all"
    assert f"[{len(recipes())} recipes]" in PAGES["README.md"]


# ---------------------------------------------------------------- examples


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150


PYTHON = [
    (page, number, example)
    for page, text in PAGES.items()
    if page not in ADD_YOUR_OWN
    for number, example in enumerate(blocks(text, "python"))
]


@pytest.mark.parametrize(("page", "number", "example"), [e for e in PYTHON if "RUN_FOLDER" not in e[2]])
def test_examples_run(page: str, number: int, example: str, tmp_path: Path) -> None:
    """Each is a whole program, whose last line says which layer groups there are."""
    (tmp_path / "example.py").write_text(example)
    done = warm_python(["example.py"], tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "head" in done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that left a model and an adapter."""
    folder = tmp_path_factory.mktemp("lora")
    recipe = make_job(folder)
    recipe.write_text(recipe.read_text().replace("FineTune", "LoRAFineTune"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
        main(["--recipe", str(recipe), "--unfreezing=null", "--trainer.max_epochs=1"])
    (run,) = (folder / "runs" / "mine").iterdir()
    return run


@pytest.mark.parametrize(("page", "number", "example"), [e for e in PYTHON if "RUN_FOLDER" in e[2]])
def test_examples_with_a_run_folder_run(
    page: str, number: int, example: str, lora_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {}
    if "open_bundle" in example:
        main(["export", "--run", str(lora_run)])
        monkeypatch.chdir(lora_run)
        Path("tile.png").write_bytes(next(lora_run.parents[2].rglob("images/*/*.png")).read_bytes())
    exec(compile(example.replace("RUN_FOLDER", str(lora_run)), page, "exec"), names)
    if "open_bundle" in example:
        assert names["answer"].outputs.shape == (1, 3)
    elif "logits" in names:
        assert names["logits"].shape == (2, 3)
    else:
        assert names["model"].config.num_labels == 3


@pytest.mark.parametrize(
    "recipe", [r for p, text in PAGES.items() if p not in ADD_YOUR_OWN for r in blocks(text, "yaml")]
)
def test_recipes_of_your_own_parse(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(recipe)
    _parse(["--recipe", "mine.yaml"], capsys)


# ---------------------------------------------------------------- links, files, names, messages


def test_links_lead_somewhere() -> None:
    lost = []
    for path in FILES:
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            target, _, anchor = link.partition("#")
            file = (path.parent / target).resolve() if target else path
            if "://" not in link and not (file.is_file() and (not anchor or _has_anchor(file, anchor))):
                lost.append(f"{path.relative_to(ROOT)}: {link}")
    assert lost == []


def _has_anchor(file: Path, anchor: str) -> bool:
    titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_files_exist() -> None:
    named = {
        (page, name)
        for page, text in PAGES.items()
        for name in re.findall(r"(?:scripts|tests|lightning_tl|datamodules|recipes)/[\w/.-]*\.\w+", text)
    }
    assert [name for name in sorted(named) if not (ROOT / name[1]).exists()] == []


def test_classes_and_functions_exist() -> None:
    import pkgutil

    names = {
        name
        for text in [*PAGES.values(), *(path.read_text() for path in (DOCS / "api").glob("*.md"))]
        for name in re.findall(r"\b(?:lightning_tl|datamodules)(?:\.\w+)+", text)
    }
    lost = []
    for name in sorted(names - {"datamodules.sets"}):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            lost.append(name)
    assert lost == []


def test_every_page_is_in_the_menu() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = set(re.findall(r"[\w/]+\.md", yaml.safe_dump(settings["nav"])))
    assert listed == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_every_public_name_is_in_the_reference() -> None:
    said = {line.removeprefix("::: ") for page in (DOCS / "api").glob("*.md") for line in page.read_text().splitlines()}
    rooms = ["datamodules"] + [
        f"lightning_tl.{name}"
        for name in (
            *("strategies", "adaptation", "backbones", "callbacks", "tasks", "retrieval", "pretraining", "embedding"),
            *("losses", "metrics", "reports", "search"),
        )
    ]
    public = {f"{room}.{name}" for room in rooms for name in _exported(ROOT / room.replace(".", "/") / "__init__.py")}
    assert sorted(public - said) == []


def _exported(file: Path) -> list[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.isupper()]
    return []


def _texts() -> list[str]:
    """All texts in the sources, with `…` for what is put in."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_messages_in_troubleshooting_are_those_of_the_code() -> None:
    messages = re.findall(r"^#### `(.*)`$", PAGES["docs/troubleshooting.md"], flags=re.MULTILINE)
    assert len(messages) > 30
    texts = _texts()
    lost = []
    for message in messages:
        parts = message.split("…")
        assert sum(map(len, parts)) > 12, f"{message} would match anything"
        pattern = re.compile(".*".join(map(re.escape, parts)), flags=re.DOTALL)
        if not any(pattern.match(text) for text in texts):
            lost.append(message)
    assert lost == []


def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: a lost link, a page outside the menu or a docstring that cannot be read is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "api" / "strategies" / "index.html").read_text(encoding="utf-8")
    assert "low-rank" in page or "low rank" in page, "docstrings are in the reference"
