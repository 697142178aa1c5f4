"""Bundles of runs that adapt one frozen backbone share it, whatever their ranks and classes; others do not."""

from __future__ import annotations

import gc
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cli_runs import make_job
from served_models import client_of, png

from lightning_tl.adaptation import Adaptation, Adapters, Frozen, Full, LoRA, Prompts
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.bundling.exchangeable import base_sha256
from lightning_tl.bundling.graph import write_graph
from lightning_tl.cli import main
from lightning_tl.serving import open_bundle
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.onnx_predictor import OnnxPredictor
from lightning_tl.serving.models.shared_sessions import SharedSessions
from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import ServedModel
from lightning_tl.serving.service.settings import ServiceSettings
from lightning_tl.strategies import FineTune
from lightning_tl.training.transfer_module import TransferModule

QUICK = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--unfreezing=null", "--test=false"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles `wide` and `narrow` of LoRA on one backbone: three classes by rank 8, and two by rank 4."""
    folder = tmp_path_factory.mktemp("shared")
    text = make_job(folder).read_text().replace("strategies.FineTune", "strategies.LoRAFineTune")
    (folder / "two").mkdir()
    for name in ("field", "town"):
        (folder / "two" / name).symlink_to(folder / "images" / name)
    for name, root, rank in (("wide", "images", 8), ("narrow", "two", 4)):
        (folder / f"{name}.yaml").write_text(text)
        words = [f"--model.r={rank}", f"--model.alpha={2 * rank}", f"--data.root={folder / root}", "--model.lr=0.05"]
        main(["--recipe", str(folder / f"{name}.yaml"), *QUICK, *words, f"--run_folder={folder / f'{name}_run'}"])
        main(["export", "--run", str(folder / f"{name}_run"), f"--output={folder / name}"])
    return folder


def predicted(run: Path, images: Path) -> pd.DataFrame:
    main(["predict", "--run", str(run), f"--data.predict_root={images}"])
    return pd.read_parquet(run / "predictions" / "predict.parquet")


def test_two_runs_share_a_backbone_and_answer_as_each_predicts(bundles: Path) -> None:
    sessions = SharedSessions()
    wide, narrow = (open_bundle(bundles / name, sessions=sessions) for name in ("wide", "narrow"))
    assert isinstance(wide, OnnxPredictor) and isinstance(narrow, OnnxPredictor)
    assert wide.session is narrow.session and wide.facts.version != narrow.facts.version
    for model, name in ((wide, "wide"), (narrow, "narrow")):
        table = predicted(bundles / f"{name}_run", bundles / "images" / "lake")
        files = [(bundles / "images" / "lake" / Path(one).name).read_bytes() for one in table["id"]]
        found = model.predict([model.prepare(file) for file in files], calibrated=False).outputs
        np.testing.assert_allclose(found, np.stack(table["probabilities"]), atol=1e-4)
        alone = open_bundle(bundles / name)
        assert isinstance(alone, OnnxPredictor) and alone.session is not wide.session
        own = alone.predict([alone.prepare(file) for file in files], calibrated=False).outputs
        np.testing.assert_allclose(found, own, atol=1e-6)


def test_many_threads_never_mix_them(bundles: Path) -> None:
    sessions = SharedSessions()
    models = [open_bundle(bundles / name, sessions=sessions) for name in ("wide", "narrow")]
    raw = png((200, 90, 10), size=(9, 9))
    with ThreadPoolExecutor(4) as pool:
        asked = [models[k % 2] for k in range(60)]
        found = list(pool.map(lambda model: model.predict([model.prepare(raw)]).outputs, asked))  # type: ignore[union-attr]
    for k in range(2, 60):
        np.testing.assert_array_equal(found[k], found[k % 2])


def test_a_service_of_both(bundles: Path) -> None:
    settings, metrics, sessions = ServiceSettings(), ServiceMetrics(), SharedSessions()
    served = [
        ServedModel(name, lambda name=name: open_bundle(bundles / name, sessions=sessions), settings, metrics.batched)  # type: ignore[misc]
        for name in ("wide", "narrow")
    ]
    with client_of(Service(served, settings, metrics, None, None)) as client:
        sent = {"image": ("a.png", png((9, 200, 90), size=(9, 9)), "image/png")}
        for name, classes in (("wide", {"field", "lake", "town"}), ("narrow", {"field", "town"})):
            said = client.post(f"/{name}/classify", files=sent).json()
            assert set(said["predictions"][0]["probabilities"]) == classes


def test_a_backbone_is_forgotten_with_its_last_model(bundles: Path) -> None:
    sessions = SharedSessions()
    wide, narrow = (open_bundle(bundles / name, sessions=sessions) for name in ("wide", "narrow"))
    del wide
    gc.collect()
    assert len(sessions) == 1, "the other still needs it"
    assert open_bundle(bundles / "wide", sessions=sessions).session is narrow.session  # type: ignore[union-attr]
    other = open_bundle(bundles / "wide", threads=2, sessions=sessions)
    assert other.session is not narrow.session, "another number of threads"  # type: ignore[union-attr]
    del narrow, other
    gc.collect()
    assert len(sessions) == 0


def test_no_place_on_this_machine_is_told(bundles: Path) -> None:
    graph = (bundles / "wide" / "model.onnx").read_bytes()
    assert b'File "' not in graph and b"stack_trace" not in graph and not re.search(rb"/(home|root|tmp)/", graph)
    assert "trained.npz" in Manifest.read(bundles / "wide").sha256


@pytest.mark.parametrize(
    ("adaptation", "shared"),
    [(Adapters(size=4), True), (Prompts(3), True), (Frozen(), True), (Full(), False)],
    ids=["adapters", "prompts", "frozen", "full"],
)
def test_what_can_be_exchanged(adaptation: Adaptation, shared: bool, saved_models: Path, tmp_path: Path) -> None:
    module = trained(adaptation, saved_models)
    _, found = write_graph(module, tmp_path / "model.onnx", share=True)
    learned = sum(weight.requires_grad for weight in module.parameters())
    assert len(found) == (learned if shared else 0)


def test_other_scales_and_backbones_are_not_shared(bundles: Path, saved_models: Path, tmp_path: Path) -> None:
    import onnx

    hashes = set()
    for alpha in (4, 6):
        _, found = write_graph(trained(LoRA(r=2, alpha=alpha), saved_models), tmp_path / "model.onnx", share=True)
        hashes.add(base_sha256(tmp_path / "model.onnx", list(found)))
    assert len(hashes) == 2
    graph, names = onnx.load(str(bundles / "wide" / "model.onnx")), np.load(bundles / "wide" / "trained.npz").files
    before = base_sha256(bundles / "wide" / "model.onnx", names)
    assert before == base_sha256(bundles / "narrow" / "model.onnx", names)
    for name, same in ((names[0], True), (next(w.name for w in graph.graph.initializer if w.name not in names), False)):
        weight = next(one for one in graph.graph.initializer if one.name == name)
        weight.raw_data = bytes(len(weight.raw_data))
        onnx.save(graph, str(tmp_path / "changed.onnx"))
        assert (base_sha256(tmp_path / "changed.onnx", names) == before) == same


def trained(adaptation: Adaptation, models: Path) -> TransferModule:
    """A module whose trained weights are as after training."""
    torch.manual_seed(0)
    backbone = HuggingFaceText(str(models / "distilbert"), max_length=20)
    module = FineTune(backbone, adaptation, num_classes=3)
    module.configure_model()
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))
    return module.eval()
