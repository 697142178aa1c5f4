"""What the service does beyond a single answer: several models, tokens, full queues, deadlines, reloads, metrics."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from served_models import CLASSES, ColourModel, CountingModel, client_of, png, service_of
from starlette.testclient import TestClient

from lightning_tl.serving.answering import ModelFacts, Predictions
from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import Model, ServedModel
from lightning_tl.serving.service.settings import ServiceSettings

IMAGE = {"content-type": "image/png"}


def test_nothing_of_serving_imports_torch() -> None:
    code = """if True:
        import sys, pkgutil, importlib, lightning_tl.serving as room
        for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
            importlib.import_module(module.name)
        print(sorted({"torch", "transformers", "lightning", "lightning_tl.training"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_answers_are_the_models_own_and_say_whose() -> None:
    model = ColourModel()
    colours = [(10, 200, 30), (250, 1, 2), (0, 0, 0)]
    truth = model.predict([model.prepare(png(colour)) for colour in colours])
    with client_of(service_of(("land", model))) as client:
        files = [("image", (f"{place}.png", png(colour), "image/png")) for place, colour in enumerate(colours)]
        found = client.post("/classify", files=files).json()
        assert (found["model"], found["version"], found["task"]) == ("land", "v1", "one label")
        shares = [[said["probabilities"][name] for name in CLASSES] for said in found["predictions"]]
        np.testing.assert_allclose(shares, truth.outputs, rtol=1e-6)
        assert [said["label"] for said in found["predictions"]] == [CLASSES[row.argmax()] for row in truth.outputs]
        raw = client.post("/land/embed", content=png(colours[1]), headers=IMAGE).json()
        np.testing.assert_allclose(raw["embeddings"], truth.features[1:2], rtol=1e-6)


@pytest.mark.parametrize(
    ("task", "prediction"),
    [
        ("one label", {"label": "a", "probabilities": {"a": 0.75, "b": 0.5}}),
        ("several labels", {"labels": ["a", "b"], "probabilities": {"a": 0.75, "b": 0.5}}),
        ("values", {"values": {"a": 0.75, "b": 0.5}}),
    ],
)
def test_what_is_said_goes_by_the_task(task: str, prediction: dict[str, Any]) -> None:
    class Fixed(ColourModel):
        def predict(self, prepared: Any, calibrated: bool = True) -> Predictions:
            return Predictions(np.tile(np.float32([0.75, 0.5]), (len(prepared), 1)), np.stack(prepared))

    model = Fixed(kind="texts")
    model.facts = ModelFacts(kind="texts", version="1", task=task, class_names=("a", "b"))
    with client_of(service_of(("m", model))) as client:
        assert client.post("/classify", json={"text": "x"}).json()["predictions"] == [prediction]


def test_a_number_that_is_none_is_not_sent() -> None:
    class Broken(ColourModel):
        def predict(self, prepared: Any, calibrated: bool = True) -> Predictions:
            found = super().predict(prepared)
            dark = found.features.sum(-1) == 0
            return Predictions(np.where(dark[:, None], np.float32("nan"), found.outputs), found.features)

    with client_of(service_of(("m", Broken()))) as client:
        assert client.post("/classify", content=png(), headers=IMAGE).status_code == 200
        answer = client.post("/classify", content=png((0, 0, 0)), headers=IMAGE)
        assert answer.status_code == 422 and "no finite number" in answer.json()["error"]


def test_several_models_answer_by_name_and_say_what_they_are() -> None:
    with client_of(service_of(("shop", CountingModel()), ("land", ColourModel("v7")))) as client:
        said = {model["model"]: model for model in client.get("/models").json()["models"]}
        assert said["land"]["version"] == "v7" and said["land"]["class_names"] == list(CLASSES)
        assert said["shop"]["paths"] == [
            "/shop/items/{item:path}/picture",
            "/shop/recommend",
            "/shop/similar/{item:path}",
        ]
        found = client.post("/shop/recommend", json={"history": ["i0", 3], "k": 2, "deny": ["i1"]})
        assert found.status_code == 404, "3 is no item, ids are texts"
        found = client.post("/shop/recommend", json={"history": ["i0", "i3"], "k": 2, "deny": ["i1"]}).json()
        assert [item["item"] for item in found["items"]] == ["i2", "i4"] and found["items"][0]["because"] == "i3"
        assert found["history"] == [{"item": "i0", "title": "Title i0"}, {"item": "i3", "title": "Title i3"}]
        assert client.get("/land/similar/i1").status_code == 404


def test_names_that_cannot_be() -> None:
    for name in ("metrics", "a/b", "", "ä"):
        with pytest.raises(ValueError, match="model"):
            service_of((name, ColourModel()))
    with pytest.raises(ValueError, match="names that differ"):
        service_of(("a", ColourModel()), ("a", ColourModel()))


def test_a_token_is_asked_for_by_all_that_tells_something() -> None:
    with client_of(service_of(("m", ColourModel()), token="secret")) as client:
        for path in ("/health", "/ready", "/", "/page/index.html"):
            assert client.get(path).status_code == 200
        for path in ("/metrics", "/models", "/openapi.json", "/nothing"):
            assert client.get(path).status_code == 401
        for given in ("Bearer wrong", "secret", "Basic secret", "Bearer sécret"):
            headers = {"authorization": given.encode("latin-1"), "content-type": "image/png"}
            assert client.post("/classify", content=png(), headers=headers).status_code == 401
        right = {"authorization": "Bearer secret", **IMAGE}
        assert client.post("/classify", content=png(), headers=right).status_code == 200


def test_a_full_queue_says_when_to_ask_again_and_loses_nothing() -> None:
    model = ColourModel(pause_s=0.02)
    service = service_of(("m", model), queue=4, max_samples=2, max_batch=1)
    with client_of(service) as client, ThreadPoolExecutor(16) as pool:
        asked = lambda _: client.post("/classify", content=png(), headers=IMAGE)  # noqa: E731
        answers = list(pool.map(asked, range(32)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503)
    assert sum(model.batches) == statuses.count(200) + 1, "what was taken was computed, once, and the probe"


def test_past_the_deadline() -> None:
    with client_of(service_of(("m", ColourModel(pause_s=0.3)), deadline_s=0.1)) as client:
        answer = client.post("/classify", content=png(), headers=IMAGE)
        assert answer.status_code == 504 and "deadline" in answer.json()["error"]


def test_requests_that_meet_are_computed_together() -> None:
    model = ColourModel(pause_s=0.05)
    with client_of(service_of(("m", model))) as client, ThreadPoolExecutor(8) as pool:
        asked = lambda _: client.post("/classify", content=png(), headers=IMAGE)  # noqa: E731
        assert {answer.status_code for answer in pool.map(asked, range(24))} == {200}
        told = client.get("/metrics").text
    assert max(model.batches) > 1
    assert 'lightning_tl_answers_total{endpoint="classify",model="m",status="200"} 24.0' in told
    assert 'lightning_tl_request_seconds_count{endpoint="classify",model="m"} 24.0' in told
    assert f'lightning_tl_batch_samples_count{{model="m"}} {len(model.batches) - 1}.0' in told
    assert 'lightning_tl_model_info{kind="images",model="m",version="v1"} 1.0' in told
    assert 'lightning_tl_queue_samples{model="m"} 0.0' in told


def test_the_index_is_among_the_metrics() -> None:
    with client_of(service_of(("m", CountingModel()))) as client:
        lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(lines['lightning_tl_index_recall{k="10",model="m"}']) == 0.99
    assert 60 <= float(lines['lightning_tl_index_age_seconds{model="m"}']) < 600


class Folder:
    """Stands for what lies on disk: the model that is opened next."""

    def __init__(self, model: Model | Exception) -> None:
        self.model = model

    def open(self) -> Model:
        if isinstance(self.model, Exception):
            raise self.model
        return self.model


def reloading(folder: Folder, **limits: Any) -> Service:
    metrics, settings = ServiceMetrics(), ServiceSettings(**limits)
    return Service([ServedModel("m", folder.open, settings, metrics.batched)], settings, metrics, None, "boss")


BOSS = {"authorization": "Bearer boss"}


def test_a_reload_needs_its_own_token() -> None:
    with client_of(service_of(("m", ColourModel()))) as client:
        assert client.post("/admin/reload").status_code == 403
    with client_of(reloading(Folder(ColourModel()))) as client:
        assert client.post("/admin/reload").status_code == 401
        assert client.post("/admin/reload?model=x", headers=BOSS).status_code == 404
        assert client.post("/admin/reload?modle=m", headers=BOSS).status_code == 422
        assert client.post("/admin/reload?model=m", headers=BOSS).json() == {
            "reloaded": [{"model": "m", "old_version": "v1", "version": "v1"}]
        }


class NoAnswer(ColourModel):
    def predict(self, prepared: Any, calibrated: bool = True) -> Predictions:
        found = super().predict(prepared)
        return Predictions(found.outputs[:, :2], found.features)


class BrokenTower(CountingModel):
    """Shows what is popular, and knows nobody any more."""

    def recommend(self, wishes: Any) -> Any:
        if any(wish.user is not None for wish in wishes):
            raise ValueError("the user tower does not answer")
        return super().recommend(wishes)


def test_a_broken_user_tower_is_not_taken() -> None:
    folder = Folder(CountingModel())
    with client_of(reloading(folder)) as client:
        folder.model = BrokenTower("v2")
        answer = client.post("/admin/reload", headers=BOSS)
        assert answer.status_code == 409 and "the user tower does not answer" in answer.json()["error"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (ValueError("model.onnx is not what the manifest says"), "not what the manifest says"),
        (OSError("no such folder"), "no such folder"),
        (NoAnswer("v2"), r"outputs of shape \(1, 2\)"),
        (CountingModel("v2"), "start another service"),
    ],
)
def test_a_broken_reload_leaves_the_old_one(broken: Model | Exception, said: str) -> None:
    folder = Folder(ColourModel())
    with client_of(reloading(folder)) as client:
        folder.model = broken
        answer = client.post("/admin/reload", headers=BOSS)
        assert answer.status_code == 409
        assert re.search(said, answer.json()["error"]), answer.text
        assert client.post("/classify", content=png(), headers=IMAGE).json()["version"] == "v1"
        assert 'lightning_tl_reloads_total{model="m",result="refused"} 1.0' in client.get("/metrics").text


def test_reloads_under_load_lose_and_mix_nothing() -> None:
    """Each answer is that of the version that it names, to the last digit that float32 holds."""
    models = {f"v{'1' * number}": ColourModel(f"v{'1' * number}", 0.002) for number in range(1, 6)}
    colours = [(place * 9 % 256, place * 31 % 256, place * 57 % 256) for place in range(40)]
    truth = {
        name: model.predict([model.prepare(png(colour)) for colour in colours]).outputs
        for name, model in models.items()
    }
    folder = Folder(models["v1"])
    seen: set[str] = set()
    before = set(threading.enumerate())

    def ask(client: TestClient, start: int) -> list[str]:
        wrong = []
        while len(seen) < 5 and time.monotonic() < ends:
            for place in range(start, len(colours), 4):
                found = client.post("/classify", content=png(colours[place]), headers=IMAGE)
                said = found.json()
                shares = list(said.get("predictions", [{}])[0].get("probabilities", {}).values())
                if found.status_code != 200 or not np.allclose(shares, truth[said["version"]][place], atol=1e-6):
                    wrong.append(found.text)
                else:
                    seen.add(said["version"])
        return wrong

    ends = time.monotonic() + 30
    with client_of(reloading(folder)) as client, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, client, start) for start in range(4)]
        for name in list(models)[1:]:
            time.sleep(0.15)
            folder.model = models[name]
            assert client.post("/admin/reload", headers=BOSS).status_code == 200
        assert [one.result() for one in asking] == [[], [], [], []]
    assert seen == set(models)
    left = [one for one in set(threading.enumerate()) - before if one.name == "batches"]
    for one in left:
        one.join(5)
    assert not [one for one in left if one.is_alive()], "queues of models that are gone end"
