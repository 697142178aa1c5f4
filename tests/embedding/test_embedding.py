"""Embeddings of whole data sets: what is written, by which weights, and what interruptions and processes change."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from cli_runs import error_of, make_job
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ranks import on_two_ranks
from tiny_run import server
from tiny_text import WORDS, save_text_model
from torch import Tensor
from transformers import AutoTokenizer

from datamodules import ImageFolderDataModule, SatelliteDataModule, TextDataModule
from lightning_tl.backbones import HuggingFaceText, HuggingFaceVision, load_exported
from lightning_tl.cli import main
from lightning_tl.embedding import Embedder, EmbeddingSettings, OutputFile, Ranks
from lightning_tl.embedding.budget_order import budget_batches
from lightning_tl.embedding.parts.part_folder import PartFolder
from lightning_tl.embedding.precision import has_bf16, resolve_precision

RECIPE = """\
# Own texts.
model:
  class_path: lightning_tl.strategies.FineTune
  init_args:
    backbone:
      class_path: test_embedding.SlowText
      init_args:
        pretrained: {folder}/bert
data:
  class_path: datamodules.TextDataModule
  init_args:
    path: {folder}/own.csv
    text: body
    label: topic
    cache: {folder}/cache
    batch_size: 8
trainer:
  max_epochs: 1
  accelerator: cpu
  devices: 1
  enable_progress_bar: false
  enable_model_summary: false
"""
TEXTS = 60


class SlowText(HuggingFaceText):
    """A text encoder that can be made slow enough to be interrupted."""

    def __call__(self, inputs: Any) -> Tensor:
        time.sleep(float(os.environ.get("SECONDS_A_BATCH", "0")))
        return super().__call__(inputs)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, 60 texts of three topics, and a recipe; nothing is written here but tokens."""
    folder = tmp_path_factory.mktemp("job")
    save_text_model("bert", folder)
    random = np.random.default_rng(0)
    rows = [
        {"body": " ".join(random.choice(WORDS, random.integers(1, 30))), "topic": "abc"[k % 3]} for k in range(TEXTS)
    ]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "own.csv", index=False)
    table[["body"]].to_csv(folder / "unlabelled.csv", index=False)
    (folder / "mine.yaml").write_text(RECIPE.format(folder=folder))
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)


def embed(job: Path, output: str, *options: str) -> tuple[list[str], np.ndarray]:
    """Run the command; ids, and embeddings [n, dim]."""
    source = [] if any(option.startswith("--run=") for option in options) else ["--recipe", str(job / "mine.yaml")]
    main(["embed", *source, "--precision=32", "--output", output, *options])
    return read(Path(output))


def read(path: Path) -> tuple[list[str], np.ndarray]:
    if path.suffix == ".npy":
        return pq.read_table(path.with_suffix(".ids.parquet"))["id"].to_pylist(), np.load(path)
    table = pq.read_table(path)
    assert table.column_names == ["id", "embedding"]
    return table["id"].to_pylist(), np.array(table["embedding"].to_pylist(), np.float32)


def slow_reference(backbone: Any, texts: list[str]) -> np.ndarray:
    """Each text by itself, so without padding."""
    backbone.eval()
    with torch.no_grad():
        return torch.cat([backbone(backbone.tokenize([text])) for text in texts]).numpy()


# -------------------------------------------------------------------- what is written


@pytest.mark.parametrize("name", ["out.parquet", "out.npy"])
def test_rows_come_in_the_order_of_the_data(name: str, job: Path) -> None:
    ids, found = embed(job, name, f"--data.path={job}/unlabelled.csv")
    texts = pd.read_csv(job / "own.csv")["body"].tolist()
    assert ids == [f"row-{k + 1}" for k in range(TEXTS)]
    assert found.dtype == np.float32
    assert np.abs(found - slow_reference(HuggingFaceText(str(job / "bert")), texts)).max() < 1e-5
    left = {path.name for path in Path().iterdir()}
    assert left == ({"out.parquet"} if name == "out.parquet" else {"out.npy", "out.ids.parquet"})
    told = pq.read_schema("out.parquet" if name == "out.parquet" else "out.ids.parquet").metadata
    assert told[b"model"].decode() == str(job / "bert")
    assert (told[b"dim"], told[b"pooling"], told[b"normalize"], told[b"precision"]) == (b"32", b"mean", b"false", b"32")
    assert len(told[b"weights_sha256"]) == 64


def test_minilm_equals_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer  # seconds, which the processes started here can do without

    folder = HuggingFaceText().input_spec.tokenizer
    reviews = pd.read_parquet(TextDataModule().path).head(12)
    reviews[["text"]].to_parquet("few.parquet")
    options = ["--data.path=few.parquet", "--data.cache=cache", "--precision=32", "--trainer.accelerator=cpu"]
    main(["embed", "--recipe", "text_linear_probe", "--output=few.npy", *options])
    found = np.load("few.npy")
    expected = SentenceTransformer(folder, device="cpu").encode(reviews["text"].tolist(), show_progress_bar=False)
    assert np.abs(found - expected).max() < 1e-5


def test_pairs(job: Path) -> None:
    pd.DataFrame({"a": ["the boat", "a red car is old"], "b": ["is wet", "it fits"]}).to_csv("pairs.csv", index=False)
    _, found = embed(job, "out.npy", "--data.path=pairs.csv", "--data.text=[a, b]")
    backbone = HuggingFaceText(str(job / "bert")).eval()
    tokens = AutoTokenizer.from_pretrained(job / "bert")(
        ["the boat"], ["is wet"], return_tensors="pt", return_token_type_ids=True
    ).data
    with torch.no_grad():
        assert np.abs(found[0] - backbone(tokens).numpy()[0]).max() < 1e-5


def test_the_shipped_images() -> None:
    main(["embed", "--recipe=satellite_linear_probe", "--output=out.npy", "--split=test", "--precision=32"])
    ids, found = read(Path("out.npy"))
    backbone = HuggingFaceVision().eval()
    spec = backbone.input_spec
    data = SatelliteDataModule(image_size=spec.image_size, mean=spec.mean, std=spec.std)
    data.setup("test")
    assert ids == data.sample_ids(data.indices["test"].tolist())
    with torch.no_grad():
        expected = backbone(next(iter(data.test_dataloader()))["inputs"]).numpy()
    assert np.abs(found[: len(expected)] - expected).max() < 1e-4


def test_a_folder_of_images_without_labels(tmp_path: Path) -> None:
    recipe = make_job(tmp_path)
    for k in range(3):
        (tmp_path / "loose" / "deep").mkdir(parents=True, exist_ok=True)
        shutil.copy(
            tmp_path / "images" / "lake" / f"0{k}.png", tmp_path / "loose" / ("deep" if k else ".") / f"{k}.png"
        )
    arguments = ["embed", "--recipe", str(recipe), "--precision=32"]
    main([*arguments, "--data.root=loose", "--output=loose.npy"])
    main([*arguments, "--output=all.npy"])
    main([*arguments, "--data.predict_root=loose", "--split=predict", "--output=predict.npy"])
    main([*arguments, "--data.normalisation=data", "--output=own.npy"])
    all_ids, everything = read(tmp_path / "all.npy")
    ids, loose = read(tmp_path / "loose.npy")
    assert ids == ["0.png", "deep/1.png", "deep/2.png"]
    assert len(all_ids) == 60
    same = everything[[all_ids.index(f"lake/0{k}.png") for k in range(3)]]
    assert np.abs(loose - same).max() < 1e-6
    assert np.abs(read(tmp_path / "predict.npy")[1] - same).max() < 1e-6
    assert np.abs(read(tmp_path / "own.npy")[1] - everything).max() > 1e-3  # normalised by the training images


def test_splits_are_those_of_training(job: Path) -> None:
    data = TextDataModule(path=str(job / "own.csv"), text="body", label="topic")
    parts = {}
    for split in ("train", "validation", "test"):
        ids, parts[split] = embed(job, f"{split}.npy", f"--split={split}", "--data.labels_per_class=2")
        assert ids == [data.records.ids[k] for k in np.flatnonzero(data.records.splits == split)]
    ids, found = embed(job, "all.npy")
    assert sum(map(len, parts.values())) == len(found) == TEXTS
    assert np.abs(found[data.records.splits == "test"] - parts["test"]).max() < 1e-6


# -------------------------------------------------------------------- which weights


@pytest.mark.parametrize("strategy", ["FineTune", "LoRAFineTune", "LinearProbe"])
def test_weights_of_a_run_are_those_it_exports(strategy: str, job: Path, tmp_path: Path) -> None:
    options = [] if strategy == "LinearProbe" else ["--model.backbone_lr=0.05"]
    recipe = (job / "mine.yaml").read_text().replace("strategies.FineTune", f"strategies.{strategy}")
    (tmp_path / "own.yaml").write_text(recipe)
    main(["--recipe=own.yaml", "--run_folder=run", *options])
    _, trained = embed(job, "trained.npy", "--run=run", f"--data.path={job}/unlabelled.csv")
    _, pretrained = embed(job, "pretrained.npy")
    assert (np.abs(trained - pretrained).max() > 1e-2) == (strategy != "LinearProbe")
    texts = pd.read_csv(job / "own.csv")["body"].tolist()
    assert np.abs(trained - slow_reference(load_exported("run/model").backbone, texts)).max() < 1e-5


def test_a_checkpoint_beside_other_frozen_weights(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text((job / "mine.yaml").read_text().replace(".FineTune", ".LinearProbe"))
    main(["--recipe=own.yaml", "--run_folder=run", "--test=false"])
    other = ["embed", "--run=run", f"--model.backbone.pretrained={save_text_model('distilbert', tmp_path)}"]
    assert "was trained beside the frozen weights" in error_of([*other, "--output=x.npy"], capsys)


# -------------------------------------------------------------------- interruptions and processes


def _interruptible(arguments: list[str], log: str) -> None:
    os.environ["SECONDS_A_BATCH"] = "0.05"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
    torch.set_num_threads(1)
    main(arguments)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_an_interrupted_job_goes_on_to_the_same_bits(
    number: signal.Signals, job: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["embed", "--recipe", str(job / "mine.yaml"), "--precision=32", "--batch_size=4"]
    main([*common, "--output=whole.parquet"])
    arguments = [*common, f"--output={tmp_path}/cut.parquet", f"--save_every={0 if number == signal.SIGKILL else 60}"]
    process = server().Process(target=_interruptible, args=(arguments, str(tmp_path / "log")))
    process.start()
    parts, deadline = tmp_path / "cut.parquet.parts", time.monotonic() + 60
    while time.monotonic() < deadline and process.is_alive():
        begun = parts.is_dir() and (len(list(parts.glob("*.parquet"))) >= 3 if number == signal.SIGKILL else True)
        if begun:
            time.sleep(0.3 if number == signal.SIGINT else 0)
            break
        time.sleep(0.02)
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert not (tmp_path / "cut.parquet").exists()
    done = len(PartFolder(parts, {}).done())
    assert 1 <= done < 15
    (parts / "part-00000099-00000099.partial").write_bytes(b"half")
    (parts / "part-00000099-00000099.parquet").write_bytes(b"PAR1 half")
    capfd.readouterr()
    main(arguments)
    assert f"going on: {4 * done} of {TEXTS} samples were done before" in capfd.readouterr().out
    assert (tmp_path / "cut.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    assert not parts.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--precision=bf16"], "precision 32 there, bf16 here"),
        (["--split=test"], "split all there, test here"),
        (["--batch_tokens=100"], "batch_tokens 8192 there, 100 here"),
        (["--data.path=other.csv"], "data "),
        (["--model.backbone.pooling=cls"], "pooling mean there, cls here"),
        (["--data.max_length=5"], "data "),
        (["--model.backbone.weights=false"], "weights "),
    ],
)
def test_parts_of_another_job_are_not_mixed_in(
    change: list[str], said: str, job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"body": ["a boat", "a car"]}).to_csv("other.csv", index=False)
    common = ["embed", "--recipe", str(job / "mine.yaml"), "--precision=32", "--output=out.npy"]
    folder = OutputFile(Path("out.npy")).parts
    _leave_unfinished(common, folder)
    capsys.readouterr()
    message = error_of([*common, *change], capsys)
    assert "out.npy.parts holds the unfinished embeddings of another job" in message
    assert said in message
    assert "add --overwrite to start anew" in message
    assert list(folder.iterdir())
    main([*common, *change, "--overwrite"])
    assert not folder.exists()


def _leave_unfinished(arguments: list[str], folder: Path) -> None:
    """Run a job whose result cannot be moved to its place, so that its parts stay."""
    scratch = Path(".out.npy.partial.npy")
    scratch.mkdir()
    with pytest.raises((SystemExit, OSError)):
        main(arguments)
    scratch.rmdir()
    assert list(folder.glob("part-*.parquet"))


def _embed_ranked(arguments: list[str]) -> None:
    main(arguments)


def test_two_processes_equal_one(job: Path, tmp_path: Path) -> None:
    arguments = ["embed", "--recipe", str(job / "mine.yaml"), "--precision=32", "--batch_size=7"]
    main([*arguments, "--output=one.parquet"])
    on_two_ranks(_embed_ranked, tmp_path, [*arguments, f"--output={tmp_path}/two.parquet"])
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    assert not (tmp_path / "two.parquet.parts").exists()


# -------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe=text_linear_prob", "--output=x.npy"], "there is no recipe 'text_linear_prob' (nearest: text_li"),
        (["--recipe=MINE"], "embed needs --output FILE.parquet or FILE.npy"),
        (["--output=x.npy"], "embed needs --recipe NAME|PATH, or --run RUN_FOLDER for trained weights"),
        (["--recipe=MINE", "--output=x.csv"], "the output must end in .parquet or .npy, got x.csv"),
        (["--recipe=MINE", "--output=there.npy"], "the output there.npy is there already; choose another name, or rep"),
        (["--recipe=MINE", "--output=empty"], "the output must end in .parquet or .npy, got empty"),
        (["--recipe=MINE", "--output=emty/x.npy"], "there is no folder emty for the output (nearest: empty)"),
        (["--recipe=MINE", "--output=/proc/x.npy"], "the folder /proc of the output cannot be written to"),
        (["--run=empty", "--output=x.npy"], "empty is not the folder of a run: it has no config.yaml"),
        (["--run=bare", "--output=x.npy"], "the run bare has no checkpoint, so there are no trained weights; the pret"),
        (["--run=bare", "--recipe=MINE", "--output=x.npy"], "the run bare has no checkpoint"),
        (["--recipe=MINE", "--output=x.npy", "--data.text=boddy"], "has no column 'boddy'; did you mean body?"),
        (["--recipe=MINE", "--output=x.npy", "--data.id=nr"], "has no column 'nr'"),
        (["--recipe=MINE", "--output=x.npy", "--data.pth=a.csv"], "has no field 'pth' (nearest: path"),
        (["--recipe=pretrain_satellite_mae", "--output=x.npy"], "cannot be read sam"),
        (["--recipe=MINE", "--output=x.npy", "--split=test", "--data.test_fraction=0"], "no samples in the test split"),
        (["--recipe=MINE", "--output=x.npy", "--split=tset"], "split must be one of all, train, validation, test, pre"),
        (["--recipe=MINE", "--output=x.npy", "--precision=16"], "precision must be auto, 32 or bf16, got 16"),
        (["--recipe=MINE", "--output=x.npy", "--batch_size=0"], "batch_size must be at least 1, got 0"),
        (["--recipe=MINE", "--output=x.npy", "--batch_tokens=0"], "batch_tokens must be at least 1, got 0"),
        (["--recipe=MINE", "--output=x.npy", "--save_every=-1"], "save_every must be at least 0 seconds, got -1"),
        (["--recipe=MINE", "--output=x.npy", "--batch_size=x"], "argument --batch_size: invalid int value: 'x'"),
        (["--recipe=MINE", "--output=x.npy", "--data=datamodules.UnlabelledLandCoverDataModule"], "cannot be read sam"),
    ],
)
def test_mistakes(options: list[str], message: str, job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("bare").mkdir()
    Path("bare/config.yaml").touch()
    Path("there.npy").touch()
    options = [option.replace("MINE", str(job / "mine.yaml")) for option in options]
    assert message in error_of(["embed", *options], capsys)
    assert {path.name for path in Path().iterdir()} == {"empty", "bare", "there.npy"}


def test_overwrite_replaces(job: Path) -> None:
    Path("out.npy").write_bytes(b"old")
    _, found = embed(job, "out.npy", "--overwrite")
    assert found.shape == (TEXTS, 32)


def test_help_answers(capsys: pytest.CaptureFixture[str]) -> None:
    main(["embed", "--help"])
    assert "--output FILE" in capsys.readouterr().out
    main(["--help"])
    assert "embed " in capsys.readouterr().out


# -------------------------------------------------------------------- the pieces


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200), st.integers(1, 9))
def test_batches_hold_each_sample_once_within_the_budget(lengths: list[int], budget: int, most: int) -> None:
    batches = budget_batches(np.array(lengths, np.int64), budget, most)
    order = [int(k) for batch in batches for k in batch]
    assert order == sorted(range(len(lengths)), key=lambda k: (-lengths[k], k))
    for k, batch in enumerate(batches):
        longest, fuller = lengths[batch[0]], len(batch) + 1
        assert len(batch) <= most and (len(batch) * longest <= budget or len(batch) == 1)
        last = k == len(batches) - 1
        assert last or fuller > most or fuller * longest > budget  # none is smaller than it need be


def test_an_output_without_every_row_is_refused(tmp_path: Path) -> None:
    output = OutputFile(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="1 of 2 embeddings are missing"):
        output.write(["a", "b"], 3, [(np.array([1]), np.zeros((1, 3), np.float32))], {})
    assert list(tmp_path.iterdir()) == []


def test_precision_follows_the_machine(job: Path) -> None:
    cpu = torch.device("cpu")
    assert resolve_precision("32", cpu)[0] == "32"
    assert resolve_precision("auto", cpu)[0] == ("32" if has_bf16(cpu) is None else "bf16")
    assert resolve_precision("bf16", cpu)[0] == "bf16"
    assert resolve_precision("auto", torch.device("mps"))[0] == "32"
    assert EmbeddingSettings().precision == "auto"
    _, exact = embed(job, "exact.npy")
    _, rounded = embed(job, "rounded.npy", "--precision=bf16")
    assert 0 < np.abs(rounded - exact).max() < 0.1


def test_broken_images_are_left_out_when_asked(tmp_path: Path) -> None:
    recipe = make_job(tmp_path)
    Path("photos").mkdir()
    Image.new("RGB", (8, 8)).save("photos/good.png")
    Path("photos/bad.png").write_bytes(b"no image")
    options = ["--data.root=photos", "--data.on_bad_image=skip", "--precision=32"]
    with pytest.warns(UserWarning, match="skipped 1 of 2 images"):
        main(["embed", "--recipe", str(recipe), "--output=out.npy", *options])
    assert read(tmp_path / "out.npy")[0] == ["good.png"]


def test_kept_embeddings_are_those_of_these_weights(tmp_path: Path) -> None:
    make_job(tmp_path)
    found = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        backbone = HuggingFaceVision(str(tmp_path / "vit"), weights=False)
        data = ImageFolderDataModule(tmp_path / "images")
        embedder = Embedder(backbone, "vit", data, None, EmbeddingSettings("32"), Ranks(), "cpu")
        rows, values = embedder.keep(tmp_path / "kept")
        assert rows.tolist() == list(range(60))
        found.append(np.array(values))
    assert not np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 2
