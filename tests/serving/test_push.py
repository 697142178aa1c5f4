"""`push` against a server that speaks as the hub does: what arrives is the run, with its card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import error_of, make_job
from fake_hub import TOKEN, FakeHub
from huggingface_hub import ModelCard
from ports import free_port
from transformers import AutoModelForImageClassification

from lightning_tl.cli import main
from lightning_tl.serving import open_bundle


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pushed")
    options = ["--trainer.max_epochs=1", "--unfreezing=null", f"--run_folder={folder / 'run'}"]
    main(["--recipe", str(make_job(folder)), *options])
    main(["export", "--run", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    hub = FakeHub()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # large files by git-lfs's own protocol
    yield hub
    hub.close()


def test_what_arrives_is_the_run(run: Path, hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["push", "--run", str(run), "--repo", "me/tiles", "--private"])
    assert f"pushed   {hub.address}/me/tiles" in capsys.readouterr().out
    assert hub.private == {"me/tiles": True}
    for name, content in hub.files["me/tiles"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    model = open_bundle(tmp_path / "bundle")
    assert model.facts.version == open_bundle(run / "bundle").facts.version
    assert AutoModelForImageClassification.from_pretrained(tmp_path).config.id2label[0] == "field"
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.pipeline_tag == "image-classification" and 'snapshot_download("me/tiles")' in card.text
    assert str(run) not in card.text
    main(["push", "--run", str(run), "--repo", "me/tiles"])  # a repository that is there gets another commit
    assert sum("commit" in line for line in hub.asked) == 2


def test_a_dry_run_writes_the_same_and_sends_nothing(
    run: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    main(["push", "--run", str(run), "--repo", "me/tiles", "--dry_run", str(tmp_path / "out")])
    assert "nothing was sent" in capsys.readouterr().out and hub.asked == []
    assert open_bundle(tmp_path / "out" / "bundle").facts.class_names == ("field", "lake", "town")
    assert "already" in error_of(
        ["push", "--run", str(run), "--repo", "me/tiles", "--dry_run", str(tmp_path / "out")], capsys
    )


def test_the_folder_of_the_model_has_a_card_and_still_opens(run: Path) -> None:
    card = ModelCard.load(run / "model" / "README.md")
    assert card.data.pipeline_tag == "image-classification" and card.data.license == "unknown"
    assert {one.metric_type for one in card.data.eval_results} == {"accuracy", "f1"}
    for word in ("field, lake, town", "| train |", "from_pretrained", "Limits", "Licences", "Calibration"):
        assert word in card.text
    assert AutoModelForImageClassification.from_pretrained(run / "model").config.num_labels == 3


WRONG = {
    "no run": (["--repo", "me/x"], "--run"),
    "no repo": (["--run", "{run}"], "--repo"),
    "one name": (["--run", "{run}", "--repo", "tiles"], "OWNER/NAME"),
    "three names": (["--run", "{run}", "--repo", "a/b/c"], "OWNER/NAME"),
    "spaces": (["--run", "{run}", "--repo", "me/my tiles"], "OWNER/NAME"),
    "dots": (["--run", "{run}", "--repo", "me/.."], "OWNER/NAME"),
    "long": (["--run", "{run}", "--repo", f"me/{'x' * 97}"], "OWNER/NAME"),
    "an option": (["--run", "{run}", "--repo", "me/x", "--public"], "no option --public"),
    "no folder": (["--run", "nowhere", "--repo", "me/x"], "no run folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_in_one_line(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, told = WRONG[name]
    assert told in error_of(["push", *(word.format(run=run) for word in words)], capsys)


def test_no_token_no_network_no_permission(
    run: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    push = ["push", "--run", str(run), "--repo", "me/tiles"]
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "token is not valid" in error_of(push, capsys)
    hub.refuses = 403
    assert "may not write there" in error_of(push, capsys)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert "is not reached" in error_of(push, capsys)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in error_of(push, capsys)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "hf auth login" in error_of(push, capsys)


def test_a_run_without_anything_to_send(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    told = error_of(["push", "--run", str(tmp_path), "--repo", "me/x", "--dry_run", str(tmp_path / "out")], capsys)
    assert "no model/ and no bundle/" in told and not (tmp_path / "out").exists()
