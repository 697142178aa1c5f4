"""Qdrant's engine from `qdrant-edge-py` behind those paths of Qdrant's HTTP interface that a `QdrantStore` uses.

python scripts/benchmarks/edge_qdrant.py --folder FOLDER

Prints its port. It stands in for a server where none can be had: one process, a request at a time, nothing distributed.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client.http.models import models as rest


class MissingError(Exception):
    """There is no such collection."""


class Collection:
    """A shard, with what is known of it."""

    def __init__(self, folder: Path, made: Any) -> None:
        self.folder, self.made = folder / uuid.uuid4().hex, made
        self.metadata: dict[str, Any] = dict(made.metadata or {})
        self.m = made.hnsw_config.m
        self.folder.mkdir(parents=True)
        self.shard = edge.EdgeShard.create(str(self.folder), self._config())

    def _config(self) -> Any:
        vectors = edge.EdgeVectorParams(size=self.made.vectors.size, distance=edge.Distance.Dot)
        return edge.EdgeConfig(
            vectors=vectors,
            hnsw_config=edge.HnswIndexConfig(m=self.m, ef_construct=100, full_scan_threshold=10),
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=10),  # KB from which a graph is made
        )

    def update(self, wanted: Any) -> None:
        """Metadata, and a graph."""
        self.metadata |= wanted.metadata or {}
        if wanted.hnsw_config is not None and wanted.hnsw_config.m != self.m:
            self.m = wanted.hnsw_config.m
            self.shard.close()
            self.shard = edge.EdgeShard.load(str(self.folder), self._config())
            self.shard.optimize()

    def info(self) -> Any:
        """As the client reads it."""
        sizes = {"m": self.m, "ef_construct": 100, "full_scan_threshold": 100}
        waits = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 1}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "payload_schema": {},
            "config": {
                "params": {"vectors": {"size": self.made.vectors.size, "distance": "Dot"}},
                "hnsw_config": sizes,
                "optimizer_config": {**waits, "flush_interval_sec": 5},
                "metadata": self.metadata,
            },
        }


class Engine:
    """Collections and their aliases; every method is given a name and the body of a request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}

    def found(self, name: str) -> Collection:
        """By its name or an alias."""
        try:
            return self.collections[self.aliases.get(name, name)]
        except KeyError:
            raise MissingError(name) from None

    def info(self, name: str, body: Any) -> Any:
        return self.found(name).info()

    def all(self, name: str, body: Any) -> Any:
        return {"collections": [{"name": one} for one in self.collections]}

    def create(self, name: str, body: Any) -> Any:
        self.collections[name] = Collection(self.folder, rest.CreateCollection(**body))
        return True

    def update(self, name: str, body: Any) -> Any:
        self.found(name).update(rest.UpdateCollection(**body))
        return True

    def delete(self, name: str, body: Any) -> Any:
        gone = self.collections.pop(name, None)
        self.aliases = {alias: place for alias, place in self.aliases.items() if place != name}
        if gone is not None:
            gone.shard.close()
        return True

    def change_aliases(self, name: str, body: Any) -> Any:
        aliases = dict(self.aliases)
        for action in body["actions"]:
            if "delete_alias" in action:
                aliases.pop(action["delete_alias"]["alias_name"], None)
            else:
                made = action["create_alias"]
                self.found(made["collection_name"])
                aliases[made["alias_name"]] = made["collection_name"]
        self.aliases = aliases
        return True

    def index(self, name: str, body: Any) -> Any:
        kinds = {"keyword": "Keyword", "float": "Float", "bool": "Keyword", "datetime": "Datetime"}
        kind = getattr(edge.PayloadSchemaType, kinds[body["field_schema"]])
        self.found(name).shard.update(edge.UpdateOperation.create_field_index(body["field_name"], kind))
        return _DONE

    def upsert(self, name: str, body: Any) -> Any:
        points = [edge.Point(uuid.UUID(one["id"]), one["vector"], _kept(one["payload"])) for one in body["points"]]
        self.found(name).shard.update(edge.UpdateOperation.upsert_points(points))
        return _DONE

    def remove(self, name: str, body: Any) -> Any:
        gone: list[Any] = [uuid.UUID(one) for one in body["points"]]
        self.found(name).shard.update(edge.UpdateOperation.delete_points(gone))
        return _DONE

    def retrieve(self, name: str, body: Any) -> Any:
        ids: list[Any] = [uuid.UUID(one) for one in body["ids"]]
        return [_record(one) for one in self.found(name).shard.retrieve(ids, True, bool(body.get("with_vector")))]

    def count(self, name: str, body: Any) -> Any:
        exact, passing = bool(body["exact"]), filter_of(body.get("filter"))
        return {"count": self.found(name).shard.count(edge.CountRequest(exact, passing))}

    def scroll(self, name: str, body: Any) -> Any:
        order = None
        if body.get("order_by"):
            way = edge.Direction.Desc if body["order_by"]["direction"] == "desc" else edge.Direction.Asc
            order = edge.OrderBy(body["order_by"]["key"], way)
        offset = None if body.get("offset") is None else uuid.UUID(body["offset"])
        wanted = edge.ScrollRequest(offset, body["limit"], filter_of(body.get("filter")), True, False, order)
        records, following = self.found(name).shard.scroll(wanted)
        return {
            "points": [_record(one) for one in records],
            "next_page_offset": None if following is None else str(following),
        }

    def query(self, name: str, body: Any) -> Any:
        answers = []
        for one in body["searches"]:
            given = one.get("params") or {}
            acorn = edge.AcornSearchParams(enable=bool((given.get("acorn") or {}).get("enable")))
            params = edge.SearchParams(hnsw_ef=given.get("hnsw_ef"), exact=bool(given.get("exact")), acorn=acorn)
            vector = one["query"]["nearest"] if isinstance(one["query"], dict) else one["query"]
            wanted = edge.SearchRequest(
                edge.Query.Nearest(vector), one["limit"], None, filter_of(one.get("filter")), params, False, True
            )
            found = self.found(name).shard.search(wanted)
            points = [{"id": str(p.id), "version": 0, "score": p.score, "payload": _given(p.payload)} for p in found]
            answers.append({"points": points})
        return answers


_DONE = {"operation_id": 0, "status": "completed"}


_TRUTH = {True: "truth: yes", False: "truth: no"}
"""The engine's Python side takes `True` for the number 1 in a filter, so that truth values are kept as texts."""


def _kept(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: _TRUTH[value] if isinstance(value, bool) else value for name, value in payload.items()}


def _given(payload: Any) -> dict[str, Any]:
    texts = {text: value for value, text in _TRUTH.items()}
    return {name: texts.get(value, value) if isinstance(value, str) else value for name, value in payload.items()}


def _record(one: Any) -> dict[str, Any]:
    return {"id": str(one.id), "payload": _given(one.payload), "vector": one.vector}


def filter_of(body: Any) -> Any:
    """A filter of the HTTP interface as the engine takes it."""
    if body is None:
        return None
    rest.Filter(**body)  # refuses what a server would
    parts: dict[str, Any] = {}
    for name in ("must", "should", "must_not"):
        parts[name] = [_condition(one) for one in body.get(name) or ()] or None
    return edge.Filter(**parts)


def _condition(one: Any) -> Any:
    if "has_id" in one:
        return edge.HasIdCondition({uuid.UUID(name) for name in one["has_id"]})
    if "is_empty" in one:
        return edge.IsEmptyCondition(one["is_empty"]["key"])
    if "key" not in one:
        return filter_of(one)
    if one.get("match"):
        match = one["match"]
        value = match.get("value")
        value = _TRUTH[value] if isinstance(value, bool) else value
        how = edge.MatchAny(match["any"]) if "any" in match else edge.MatchValue(value)
        return edge.FieldCondition(key=one["key"], match=how)
    ends = {end: value for end, value in one["range"].items() if value is not None}
    kind = edge.RangeDateTime if any(isinstance(value, str) for value in ends.values()) else edge.RangeFloat
    return edge.FieldCondition(key=one["key"], range=kind(**ends))


_PATHS: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", r"/collections", Engine.all),
    ("POST", r"/collections/aliases", Engine.change_aliases),
    ("GET", r"/collections/([^/]+)", Engine.info),
    ("PUT", r"/collections/([^/]+)", Engine.create),
    ("PATCH", r"/collections/([^/]+)", Engine.update),
    ("DELETE", r"/collections/([^/]+)", Engine.delete),
    ("PUT", r"/collections/([^/]+)/index", Engine.index),
    ("PUT", r"/collections/([^/]+)/points", Engine.upsert),
    ("POST", r"/collections/([^/]+)/points", Engine.retrieve),
    ("POST", r"/collections/([^/]+)/points/delete", Engine.remove),
    ("POST", r"/collections/([^/]+)/points/scroll", Engine.scroll),
    ("POST", r"/collections/([^/]+)/points/count", Engine.count),
    ("POST", r"/collections/([^/]+)/points/query/batch", Engine.query),
]


def server_of(folder: Path, api_key: str | None = None) -> ThreadingHTTPServer:
    """A server that listens, and answers once `serve_forever` is called.

    Args:
        folder: where shards are kept.
        api_key: that is asked for.
    """
    engine, alone = Engine(folder), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.partition("?")[0]
            if api_key is not None and self.headers.get("api-key") != api_key:
                self.say(403, {"status": {"error": "forbidden"}})
                return
            for method, pattern, handle in _PATHS:
                if method == self.command and (found := re.fullmatch(pattern, path)):
                    try:
                        with alone:
                            result = handle(engine, found[1] if found.groups() else "", json.loads(body or b"{}"))
                    except MissingError as error:
                        self.say(404, {"status": {"error": f"Not found: Collection `{error}` doesn't exist!"}})
                        return
                    except Exception as error:
                        self.say(500, {"status": {"error": f"{type(error).__name__}: {error}"}})
                        return
                    self.say(200, {"result": result, "status": "ok", "time": 0.0})
                    return
            self.say(404, {"status": {"error": "no such path"}})

        def say(self, status: int, answer: Any) -> None:
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)
    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def main() -> None:
    """Answer until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    server = server_of(options.folder)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
