"""A two-tower run over HTTP: every answer is what the run's own module gives, ranked slowly over all items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from cli_runs import error_of
from served_models import client_of
from starlette.testclient import TestClient
from tiny_retrieval import write_log

from lightning_tl.cli import main
from lightning_tl.cli.commands.recommend import RecommendCLI
from lightning_tl.cli.commands.recommend_options import read_recommend_options
from lightning_tl.retrieval import Recommender
from lightning_tl.search.rules.boost import boosts_of
from lightning_tl.search.rules.item_rules import ItemRules
from lightning_tl.serving import open_bundle
from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import ServedModel
from lightning_tl.serving.service.settings import ServiceSettings

TOWERS = "lightning_tl.retrieval."
ITEMS = 48


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose index has columns, with its bundle."""
    folder = tmp_path_factory.mktemp("recommended")
    log = write_log(folder / "log")
    items = pd.read_parquet(log / "items.parquet")
    items["price"] = [float("nan") if k % 7 == 0 else 1 + k % 10 for k in range(len(items))]
    items.to_parquet(log / "items.parquet")
    data: dict[str, Any] = {name: str(log / f"{name}.parquet") for name in ("events", "items", "users")}
    data |= {"completion": "completion", "category": "category", "cache": str(log / "cache"), "exclude": "seen"}
    towers = {
        "items": {"class_path": f"{TOWERS}ItemTower", "init_args": {"dim": 16}},
        "users": {"class_path": f"{TOWERS}HistoryMean"},
    }
    recipe = {
        "model": {"class_path": f"{TOWERS}TwoTower", "init_args": {"lr": 0.01, **towers}},
        "data": {
            "class_path": "datamodules.InteractionDataModule",
            "init_args": data | {"history_length": 6, "batch_size": 8, "num_workers": 0},
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "checkpoint": {"monitor": "val_mrr", "mode": "max"},
        "retrieval_report": {"min_queries": 10},
    }
    (folder / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(folder / "mine.yaml"), f"--run_folder={folder / 'run'}"])
    main(["index", "build", "--run", str(folder / "run")])
    main(["export", "--run", str(folder / "run")])
    return folder / "run"


class Kept(RecommendCLI):
    """Opens a run as `recommend` does."""

    def run_subcommand(self, subcommand: str) -> None:
        module, data, run = self.opened()
        self.recommender = Recommender.open(module, data, run / "index", data.log)


class Truth:
    """Rankings of all items by the run's own module."""

    def __init__(self, run: Path) -> None:
        self.one = Kept(read_recommend_options(["--run", str(run), "--user", "u1"])).recommender
        self.ids, self.vectors = self.one.index.ids, self.one.index.kept.all()
        assert self.one.index.fields is not None
        self.price = self.one.index.fields.column("price")
        self.kind = np.arange(ITEMS) % 3  # see `write_log`

    def number(self, item: str) -> int:
        return self.one.log.item_ids.index(item)

    def scores(self, user: str, history: list[str] | None = None) -> np.ndarray:
        """[items] cosines, in the order of the index."""
        number = self.one.number_of(user)
        assert number is not None
        taken = self.one.history_of(user) if history is None else np.array([self.number(one) for one in history], int)
        found: np.ndarray = self.vectors @ self.one.vector(number, taken[-6:])
        return found

    def best(self, scores: np.ndarray, without: set[str], k: int) -> list[str]:
        return [self.ids[place] for place in np.argsort(-scores, kind="stable") if self.ids[place] not in without][:k]

    def left_out(self, user: str) -> set[str]:
        number = self.one.number_of(user)
        assert number is not None
        return {self.one.log.item_ids[item] for item in self.one.not_again(number, self.one.history_of(user))}


@pytest.fixture(scope="module")
def truth(run: Path) -> Truth:
    return Truth(run)


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[TestClient]:
    settings, metrics = ServiceSettings(), ServiceMetrics()
    served = ServedModel("shop", lambda: open_bundle(run / "bundle"), settings, metrics.batched)
    with client_of(Service([served], settings, metrics)) as found:
        yield found


def asked(client: TestClient, **wish: Any) -> dict[str, Any]:
    answer = client.post("/recommend", json=wish)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    found["ids"] = [item["item"] for item in found["items"]]
    return found


def test_known_users(client: TestClient, truth: Truth) -> None:
    for user in ("u7", "u59"):
        found, wanted = asked(client, user=user, k=12), truth.one.recommend(user, 12)
        assert found["ids"] == [truth.one.log.item_ids[item] for item in wanted.items]
        np.testing.assert_allclose([item["score"] for item in found["items"]], wanted.scores, atol=1e-4)
        assert found["by"] == "history"
        read = [truth.one.log.item_ids[item] for item in wanted.history]
        assert [past["item"] for past in found["history"]] == read
        everything = asked(client, user=user, k=ITEMS, exclude="none")
        assert everything["ids"] == truth.best(truth.scores(user), set(), ITEMS)


def test_a_session_a_profile_and_a_stranger(client: TestClient, truth: Truth) -> None:
    history = ["i4", "i7", "i10"]
    people = {"gender": ["F", "M"][8 % 2], "age": 28}  # those of u8
    found = asked(client, history=history, profile=people, k=9)
    assert found["ids"] == truth.best(truth.scores("u8", history), set(history), 9)
    alone = asked(client, profile=people, k=9)
    assert alone["ids"] == truth.best(truth.scores("u8", []), set(), 9) and alone["by"] == "profile"
    stranger, wanted = asked(client, user="nobody", k=9), truth.one.recommend("nobody", 9)
    assert stranger["ids"] == [truth.one.log.item_ids[item] for item in wanted.items]
    assert stranger["by"] == "popularity" and "no user 'nobody'" in stranger["note"]


def test_similar_items(client: TestClient, truth: Truth) -> None:
    found = client.get("/similar/i9?k=5").json()
    scores = truth.vectors @ truth.vectors[truth.ids.index("i9")]
    assert [item["item"] for item in found["items"]] == truth.best(scores, {"i9"}, 5)
    assert client.get("/similar/nothing").status_code == 404


def test_filters(client: TestClient, truth: Truth) -> None:
    scores, out = truth.scores("u7"), truth.left_out("u7")
    boats = {name for name, kind in zip(truth.ids, truth.kind, strict=True) if kind == 0}
    cheap = {name for name, price in zip(truth.ids, truth.price, strict=True) if 2 <= price <= 6}
    every = set(truth.ids)
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"where": {"category": ["boat"]}}, boats),
        ({"where": {"price": {"from": 2, "to": 6}}}, cheap),
        ({"where": {"category": ["boat"], "price": {"from": 2, "to": 6}}}, boats & cheap),
        ({"allow": sorted(cheap)}, cheap),
        ({"deny": sorted(boats)}, every - boats),
        ({"allow": sorted(cheap), "deny": sorted(boats), "where": {"price": {"from": 4}}}, cheap - boats),
    ]
    for wish, eligible in cases:
        if "from" in str(wish) and "to" not in str(wish):
            eligible = {name for name in eligible if truth.price[truth.ids.index(name)] >= 4}
        wanted = truth.best(scores, out | (every - eligible), 6)
        assert asked(client, user="u7", k=6, **wish)["ids"] == wanted, wish


@pytest.mark.parametrize(
    "boost",
    [
        {"price": 0.2},
        {"price": -3},
        {"price": {"how": "multiply", "weight": 0.7}},
        {"price": {"weight": 0.01}},
        {"price": 1e6},
    ],
)
@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_boosts_and_diversity(
    run: Path, client: TestClient, truth: Truth, boost: dict[str, Any], diversity: float
) -> None:
    how = boost["price"] if isinstance(boost["price"], dict) else {"weight": boost["price"]}
    scores, priced = truth.scores("u7").astype(np.float64), ~np.isnan(truth.price)
    if how.get("how") == "multiply":
        scores[priced] *= truth.price[priced] ** how["weight"]
    else:
        scores[priced] += how["weight"] * truth.price[priced]
    ranked, wanted = truth.best(scores, truth.left_out("u7"), ITEMS), []
    while len(wanted) < 8:
        places = [truth.ids.index(name) for name in wanted]

        def worth(name: str, places: list[int] = places) -> float:
            at = truth.ids.index(name)
            near = max((float(truth.vectors[at] @ truth.vectors[other]) for other in places), default=0.0)
            return (1 - diversity) * float(scores[at]) - diversity * near

        wanted.append(max((name for name in ranked if name not in wanted), key=worth))
    found = asked(client, user="u7", k=8, boost=boost, diversity=diversity)
    assert found["ids"] == wanted and "the order is boosted by price" in found["note"]
    flag = f"--boost=price={how.get('how', 'add')}:{how['weight']}"
    rules = by_command(["--run", str(run), "--user", "u7", flag, f"--diversity={diversity}"])
    again = truth.one.recommend("u7", 8, rules=rules)
    assert [truth.one.log.item_ids[item] for item in again.items] == wanted


def by_command(argv: list[str]) -> ItemRules:
    """The rules that stand on a command line."""
    options = read_recommend_options(argv)
    return ItemRules(boosts_of(options.boost), options.diversity)


def test_what_is_popular_is_not_boosted_and_says_so(client: TestClient) -> None:
    plain = asked(client, user="nobody", k=5)
    found = asked(client, user="nobody", k=5, boost={"price": 3}, diversity=0.3)
    assert found["ids"] == plain["ids"] and "without boosts or diversity" in found["note"]
    assert "without boosts" not in plain["note"]


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"boost": {"colour": 1}}, "no column 'colour' to boost by; it has: "),
        ({"boost": {"title": 1}}, "'title' is a column of texts; numbers are needed"),
        ({"boost": {"price": "much"}}, "boost.price"),
        ({"boost": {"price": True}}, "boost.price"),
        ({"boost": {"price": {"how": "max"}}}, "boost.price"),
        ({"boost": {"price": {"wieght": 1}}}, "boost.price"),
        ({"boost": ["price"]}, "boost"),
        ({"boost": {"price": 1e300}}, "give a smaller one"),
        ({"boost": {"price": {"how": "multiply", "weight": 1e9}}}, "give a smaller one"),
        ({"boost": {"price": 1}, "user": "nobody", "diversity": 1}, "diversity"),
        ({"boost": {"colour": 1}, "user": "nobody"}, "no column 'colour'"),
    ],
)
def test_boosts_that_cannot_be(client: TestClient, wish: dict[str, Any], told: str) -> None:
    answer = client.post("/recommend", json={"user": "u7", "k": 3} | wish)
    assert answer.status_code == 422 and told in answer.json()["error"], answer.text


def test_the_command_takes_boosts_too(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    started = ["recommend", "--run", str(run)]
    pd.DataFrame({"user": ["u7", "nobody"]}).to_parquet(tmp_path / "users.parquet")
    both = ["--k=5", "--boost=price=0.2", "--diversity=0.1"]
    capsys.readouterr()
    main([*started, "--user=u7", *both])
    told = capsys.readouterr().out
    printed = [line.split()[2] for line in told.splitlines() if line.strip()[:1].isdigit()]
    assert "boosted by price" in told and len(printed) == 5
    many = ["--users", str(tmp_path / "users.parquet"), "--output", str(tmp_path / "out.parquet"), *both]
    main([*started, *many])
    assert pd.read_parquet(tmp_path / "out.parquet").query("user == 'u7'")["item"].tolist() == printed
    assert "'kind' to boost by" in error_of([*started, "--user=nobody", "--boost=kind=1"], capsys)
    for wrong, said in (
        ("--boost=price", "COLUMN=WEIGHT or COLUMN=multiply:WEIGHT with a number, got 'price'"),
        ("--boost=price=max:3", "got 'price=max:3'"),
        ("--boost=price=nan", "must be finite, got nan"),
        ("--diversity=1", r"diversity must be in [0, 1), got 1.0"),
    ):
        assert said in error_of([*started, "--user=u7", wrong], capsys)
    assert "'price' twice" in error_of([*started, "--user=u7", "--boost=price=1", "--boost=price=2"], capsys)
