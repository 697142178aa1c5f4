"""Whatever is sent, the answer is a status from 400 to 499 and one sentence that helps."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from served_models import ColourModel, CountingModel, client_of, png, service_of
from starlette.testclient import TestClient

IMAGE, JSON = {"content-type": "image/png"}, {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    models = {"p": ColourModel(), "t": ColourModel(kind="texts"), "b": ColourModel(kind="pairs"), "r": CountingModel()}
    limits = {"max_body_mb": 0.2, "max_pixels": 10_000, "max_characters": 100, "max_samples": 3, "max_k": 20}
    with client_of(service_of(*models.items(), **limits)) as client:
        yield client


def bomb() -> bytes:
    """The head of a PNG of 60,000 × 60,000 pixels, in a hundred bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1_000))) + chunk(b"IEND", b"")


def animation() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 422, "empty"),
        (b"no image at all", 422, "no image of a format that is known"),
        (png(size=(64, 64))[:90], 422, "cannot be read"),
        (bomb(), 422, "pixels"),
        (png(size=(200, 200)), 422, "200 × 200 pixels, 10,000 at most"),
        (animation(), 422, "2 pictures"),
        (png((7,), mode="L"), 422, "3 channels"),
        (bytes(300_000), 413, "longer than 0.2 MB"),
    ],
)
def test_images(client: TestClient, data: bytes, status: int, said: str) -> None:
    answers = [client.post("/p/classify", content=data, headers=IMAGE)]
    if data:
        answers.append(client.post("/p/embed", files={"image": ("x.png", data, "image/png")}))
    for answer in answers:
        assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text


def test_an_empty_upload_and_forms_that_are_none(client: TestClient) -> None:
    table: list[tuple[dict[str, Any], int, str]] = [
        ({"files": {"image": ("x.png", b"", "image/png")}}, 422, "empty"),
        ({"files": {"image": (None, "a field")}}, 422, "no file"),
        ({"files": [("image", ("x.png", png(), "image/png"))] * 4}, 422, "3 images"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
        ({"content": b"\0\1--x--", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "form"),
        ({"json": {"text": "a"}}, 415, "reads images"),
        ({"content": png()}, 415, "no content type"),
        ({"content": b"text=a", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415, "reads images"),
    ]
    for sent, status, said in table:
        answer = client.post("/p/classify", **sent)
        assert answer.status_code == status and said in answer.json()["error"], (sent, answer.text)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/t/classify", "{", 400, "no valid JSON"),
        ("/t/classify", "", 400, "empty"),
        ("/t/classify", b"\xff\xfe\x00", 400, "not UTF-8: byte 0 is 0xff"),
        ("/t/classify", '{"text": "\\ud800"}', 400, "no valid JSON"),
        ("/t/classify", '{"text": NaN}', 400, "no valid JSON"),
        ("/t/classify", "[" * 100_000, 400, "recursion"),
        ("/t/classify", "[]", 422, "must be a JSON object, got a list"),
        ("/t/classify", "null", 422, "got null"),
        ("/t/classify", "{}", 422, "give either"),
        ("/t/classify", '{"text": "a", "texts": ["b"]}', 422, "give either"),
        ("/t/classify", '{"text": 3}', 422, "text: input should be a valid string, got 3"),
        ("/t/classify", '{"texts": ["a", null]}', 422, "texts.1"),
        ("/t/classify", '{"texts": []}', 422, "texts: "),
        ("/t/classify", '{"text": " "}', 422, "blank"),
        ("/t/classify", '{"txet": "a"}', 422, "did you mean 'text'?"),
        ("/t/classify", '{"pairs": [["a", "b"]]}', 422, "reads single texts"),
        ("/t/embed", '{"text": "%s"}' % ("a" * 101), 422, "100 characters, this one has 101"),
        ("/t/embed", '{"texts": ["a", "a", "a", "a"]}', 422, "3 texts, this one has 4"),
        ("/t/classify", '{"text": "%s"}' % ("a" * 250_000), 413, "0.2 MB"),
        ("/t/classify?calibrated=no", '{"text": "a"}', 422, "no field 'calibrated'"),
        ("/b/classify", '{"text": "a"}', 422, "reads pairs"),
        ("/b/classify", '{"pairs": [["a"]]}', 422, "pairs.0"),
        ("/b/classify", '{"pairs": [["a", "b", "c"]]}', 422, "pairs.0"),
        ("/b/classify", '{"pairs": [["a", " "]]}', 422, "blank"),
        ("/r/recommend", "{}", 422, "user, history or profile"),
        ("/r/recommend", '{"user": "nobody"}', 404, "no user 'nobody'"),
        ("/r/recommend", '{"user": true}', 422, "user"),
        ("/r/recommend", '{"history": ["i1", "i999"]}', 404, "no item 'i999'"),
        ("/r/recommend", '{"history": "i1"}', 422, "history"),
        ("/r/recommend", '{"user": "u1", "k": 0}', 422, "k: "),
        ("/r/recommend", '{"user": "u1", "k": 21}', 422, "from 1 to 20, got 21"),
        ("/r/recommend", '{"user": "u1", "k": 1e400}', 422, "not finite"),
        ("/r/recommend", '{"user": "u1", "k": 2.5}', 422, "k: "),
        ("/r/recommend", '{"user": "u1", "k": "3"}', 422, "k: "),
        ("/r/recommend", '{"user": "u1", "diversity": 1}', 422, "diversity: "),
        ("/r/recommend", '{"user": "u1", "diversity": -0.1}', 422, "diversity: "),
        ("/r/recommend", '{"user": "u1", "exclude": "all"}', 422, "exclude: "),
        ("/r/recommend", '{"user": "u1", "histroy": []}', 422, "did you mean 'history'?"),
        ("/r/recommend", '{"user": "u1", "where": {"colour": ["red"]}}', 422, "no column 'colour'"),
        ("/r/recommend", '{"user": "u1", "where": {"price": {"form": 3}}}', 422, "price"),
        ("/r/recommend", '{"user": "u1", "where": {"price": {}}}', 422, "allows nothing"),
        ("/r/recommend", '{"user": "u1", "where": {"price": []}}', 422, "allows nothing"),
    ],
)
def test_json(client: TestClient, path: str, body: str | bytes, status: int, said: str) -> None:
    answer = client.post(path, content=body, headers=JSON)
    assert answer.status_code == status and said in answer.json()["error"], answer.text
    assert len(answer.json()["error"]) < 400


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/p/classify", 405, "does not take GET, but POST"),
        ("POST", "/health", 405, "does not take POST"),
        ("DELETE", "/r/recommend", 405, "does not take DELETE"),
        ("GET", "/classify", 404, "/p/classify"),
        ("GET", "/p/recommend", 404, "/r/recommend"),
        ("GET", "/page/../../../answering.py", 404, ""),
        ("GET", "/page/nothing.css", 404, "no path"),
        ("GET", "/r/similar/i999", 404, "no item 'i999'"),
        ("GET", "/r/similar/i1?k=0", 422, "from 1 to 20"),
        ("GET", "/r/similar/i1?k=many", 422, "whole number, got 'many'"),
        ("GET", "/r/similar/i1?n=3", 422, "did you mean 'k'?|there are: k"),
        ("GET", "/r/similar/", 404, ""),
    ],
)
def test_paths_and_methods(client: TestClient, method: str, path: str, status: int, said: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status, answer.text
    assert any(part in answer.json()["error"] for part in said.split("|"))


def test_a_long_body_without_its_length_is_counted(client: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(10_000)

    answer = client.post("/p/classify", content=parts(), headers=IMAGE)
    assert answer.status_code == 413 and "0.2 MB" in answer.json()["error"]
