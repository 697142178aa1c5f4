"""`export_two_towers`: a finished run of a two-tower model as a folder that recommends without torch and its data."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightning_tl.bundling.export_bundle import check_place, package_versions, put_in_place
from lightning_tl.bundling.item_thumbnails import thumbnails_of, write_item_thumbnails
from lightning_tl.bundling.reads_of import text_reads, write_tokenizer
from lightning_tl.bundling.recommender_card import recommender_card_text, recommender_facts
from lightning_tl.bundling.user_graph import write_user_graph
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.retrieval import Recommender, TextHistory, TwoTower
from lightning_tl.retrieval.recommender import popular_items
from lightning_tl.retrieval.towers.text_history import BETWEEN
from lightning_tl.search import ItemIndex
from lightning_tl.serving.answering import RecommendingModel, Wish
from lightning_tl.serving.bundle.manifest import FILE, Manifest, file_sha256
from lightning_tl.serving.models.history_texts import TOKENIZER, write_titles
from lightning_tl.serving.models.user_tower import GRAPH, write_history_items
from lightning_tl.serving.models.users_file import write_popular, write_users
from lightning_tl.serving.opening import INDEX, open_bundle
from lightning_tl.storage.tensor_digest import tensor_digest

TOLERANCE = 1e-4  # of cosines
_CHECKED_USERS, _CHECKED_ITEMS = 20, 20


def export_two_towers(
    module: TwoTower,
    data: Any,
    description: RunDescription,
    run: Path,
    output: Path,
    checkpoint: Path,
    pictures: bool = True,
) -> Manifest:
    """Write a bundle; it appears whole, in place of an earlier one.

    Args:
        module: built for the data, with its weights.
        data: the run's event log, all of it.
        description: of the run.
        run: its folder, with the index that its test wrote.
        output: the folder to write.
        checkpoint: that the weights are of.
        pictures: whether small pictures of the items go with it, where the data has some.

    Raises:
        ValueError: the user tower cannot be written as a graph, or the bundle answers otherwise than the run.
        OSError: there is no index, or the folder cannot be written.
    """
    check_place(output)
    module.eval()
    digest = tensor_digest(module.state_dict())
    index = ItemIndex.open(run / INDEX, digest)
    recommender = Recommender(module, data, index, data.log)
    output.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        write_user_graph(module, data.history_length, made / GRAPH)
        write_answering_files(module, data, recommender, made)
        if isinstance(module.users, TextHistory):
            _write_texts(module.users, data, made)
        facts = recommender_facts(run, description, module, index, recommender.missing, len(data.log.user_ids))
        if pictures and (shown := thumbnails_of(data, index.places)) is not None:
            facts["pictures"] = write_item_thumbnails(made, shown)
        manifest = Manifest(
            kind="recommendations",
            task="retrieval",
            class_names=(),
            reads=reads_of_users(module, data),
            activation="none",
            card={**facts, "checkpoint": {"name": checkpoint.name, "sha256": file_sha256(checkpoint)}},
            versions=package_versions(),
        )
        difference = _checked(completed(manifest, made), made, recommender)
        manifest = dataclasses.replace(manifest, card={**manifest.card, "difference_to_torch": difference})
        (made / "README.md").write_text(recommender_card_text(manifest), encoding="utf-8")
        manifest = completed(manifest, made)
        made.chmod(0o755)
        put_in_place(made, output)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return manifest


def completed(manifest: Manifest, folder: Path) -> Manifest:
    """A manifest with the hashes of all other files, written."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    hashes = {name: file_sha256(folder / name) for name in files if name != FILE}
    manifest = dataclasses.replace(manifest, sha256=hashes)
    (folder / FILE).write_text(manifest.text(), encoding="utf-8")
    return manifest


def reads_of_users(module: TwoTower, data: Any) -> dict[str, Any]:
    """What has to be known of histories and profiles, as data."""
    reads = {"history_length": data.history_length, "profile": module.rows.vocabulary, "exclude": str(data.exclude)}
    users = module.users
    if isinstance(users, TextHistory):
        told = text_reads(users.encoder.input_spec, users.tokens)
        reads["history_texts"] = {**told, "items": users.most, "between": BETWEEN}
    return reads


@torch.no_grad()
def write_answering_files(module: TwoTower, data: Any, recommender: Recommender, folder: Path) -> None:
    """All that answering needs beside the graph: the index, the users, and what histories are read by."""
    index, log = recommender.index, data.log
    gone = sorted(recommender.gone)
    index.remove([index.ids[place] for place in gone])
    index.write(folder / INDEX)
    module.items.refresh()
    write_history_items(folder, log.item_ids, module.item_vectors().float().numpy())  # of all, whatever is offered
    starts = log.user_starts()
    histories = [np.asarray(log.items[starts[user] : starts[user + 1]], np.int32) for user in range(len(log.user_ids))]
    more = [
        np.setdiff1d(recommender.not_again(user, taken), taken).astype(np.int32) for user, taken in enumerate(histories)
    ]
    write_users(folder, log.user_ids, histories, more, module.profiles.cpu().numpy())
    best, late, _ = popular_items(log)
    write_popular(folder, best.astype(np.int32), late[best].astype(np.float64))


def _write_texts(users: TextHistory, data: Any, folder: Path) -> None:
    write_titles(folder, data.item_titles)
    write_tokenizer(users.encoder.input_spec, folder / TOKENIZER)


def _checked(manifest: Manifest, folder: Path, recommender: Recommender) -> float:
    """The largest difference of scores between the bundle and torch.

    Raises:
        ValueError: it is above 1e-4, or other items are recommended.
    """
    bundle = open_bundle(folder)
    assert isinstance(bundle, RecommendingModel), manifest.kind
    users: Sequence[str] = recommender.log.user_ids
    chosen = [users[k] for k in np.unique(np.linspace(0, len(users) - 1, _CHECKED_USERS).astype(int))]
    found = bundle.recommend([Wish(user=user, k=_CHECKED_ITEMS) for user in chosen])
    worst = 0.0
    for user, answer in zip(chosen, found, strict=True):
        wanted = recommender.recommend(user, _CHECKED_ITEMS)
        scores = np.asarray(wanted.scores), np.asarray(answer.scores)
        if scores[0].shape != scores[1].shape:
            raise ValueError(
                f"the bundle recommends {len(answer.items)} items to the user '{user}' and the run {len(wanted.items)}"
            )
        worst = max([worst, *np.abs(scores[0] - scores[1]).tolist()])
    if not worst <= TOLERANCE:
        raise ValueError(
            f"the bundle gives other scores than torch (by {worst:.2g}, {TOLERANCE:g} is allowed): it is not written"
        )
    return worst
