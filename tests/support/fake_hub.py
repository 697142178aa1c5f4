"""A server that speaks what huggingface_hub says when a folder is uploaded, and keeps what it was sent."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_test"


class FakeHub:
    """Repositories in memory, by name.

    Args:
        refuses: answer this status to everything.
    """

    def __init__(self, refuses: int | None = None) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refuses = refuses
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                hub.asked.append(f"{self.command} {self.path}")
                status, answer = hub.answer(self.command, self.path.split("?")[0], body, self.headers)
                told = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(told)

            do_GET = do_POST = do_PUT = do_HEAD = _any  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        if self.refuses is not None:
            return self.refuses, {"error": "refused"}
        if method == "PUT" and path.startswith("/blob/"):
            self.blobs[path.removeprefix("/blob/")] = body
            return 200, {}
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in self.files:
                return 409, {"error": "You already created this model repo", "url": f"{self.address}/{name}"}
            private = bool(asked.get("private")) or asked.get("visibility") == "private"
            self.files[name], self.private[name] = {}, private
            return 200, {"url": f"{self.address}/{name}", "name": name}
        parts = path.strip("/").split("/")
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.address}/blob/{one['oid']}", "header": {}}}}
                for one in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        name = "/".join(parts[2:4])
        if name not in self.files:
            return 404, {"error": "Repository not found"}
        if "preupload" in parts:
            modes = [
                {"path": one["path"], "uploadMode": "lfs" if one["size"] > 5_000 else "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return 200, {"files": modes}
        if "commit" in parts:
            for line in body.decode().splitlines():
                self._commit(name, json.loads(line))
            return 200, {"commitUrl": f"{self.address}/{name}/commit/0", "commitOid": "0" * 40, "success": True}
        return 200, {"id": name, "sha": "0" * 40, "siblings": [], "private": self.private[name]}

    def _commit(self, name: str, line: dict[str, Any]) -> None:
        value = line["value"]
        if line["key"] == "file":
            self.files[name][value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            self.files[name][value["path"]] = self.blobs[value["oid"]]
