"""What of a run goes on the Hugging Face hub, and how it gets there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lightning_tl.reports.model_card import CARD
from lightning_tl.serving.bundle.manifest import Manifest

MODEL, BUNDLE = "model", "bundle"


def stage(run: Path, repo: str, folder: Path) -> list[str]:
    """Write what is sent: the files of `model/`, the bundle as `bundle/`, and a card.

    Args:
        run: folder of the run.
        repo: `owner/name`, which the card's lines name in place of a folder.
        folder: to write into, empty or not there.

    Returns:
        the names of the files.

    Raises:
        ValueError: the run has neither, or its bundle is not whole.
    """
    model, bundle = run / MODEL, run / BUNDLE
    has_bundle = (bundle / "bundle.json").is_file()
    if not model.is_dir() and not has_bundle:
        raise ValueError(f"{run} has no model/ and no bundle/ to push: write a bundle with export --run {run}")
    folder.mkdir(parents=True, exist_ok=True)
    if model.is_dir():
        shutil.copytree(model, folder, dirs_exist_ok=True)
    if has_bundle:
        Manifest.read(bundle)  # whole, and as it was written
        shutil.copytree(bundle, folder / BUNDLE, dirs_exist_ok=True)
    source = bundle / CARD if has_bundle else model / CARD
    if source.is_file():
        text = source.read_text(encoding="utf-8").replace("FOLDER/bundle", "FOLDER")
        (folder / CARD).write_text(_of_repo(text, model, repo, has_bundle), encoding="utf-8")
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _of_repo(text: str, model: Path, repo: str, has_bundle: bool) -> str:
    """The card with lines that load from the hub."""
    if has_bundle:
        download = (
            f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{repo}") + "/bundle"\n'
        )
        text = text.replace("```python\n", f"```python\n{download}", 1).replace(
            'open_bundle("FOLDER")', "open_bundle(folder)"
        )
    return text.replace(f'"{model}"', f'"{repo}"').replace(str(model), repo)


class Hub:
    """The hub, as whoever is logged in reaches it.

    Raises:
        ValueError: nobody is logged in.
    """

    def __init__(self) -> None:
        from huggingface_hub import HfApi, get_token

        token = os.environ.get("HF_TOKEN") or get_token()
        if not token:
            raise ValueError(
                "push needs a token of the Hugging Face hub that may write: log in with `hf auth login`, or set "
                "HF_TOKEN"
            )
        self.api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)

    def push(self, folder: Path, repo: str, private: bool) -> str:
        """Send a folder as one commit; files that the hub has already are not sent again.

        Args:
            folder: what is sent.
            repo: `owner/name`; it is made where it is not there.
            private: whether a new one is private.

        Returns:
            the address.

        Raises:
            OSError: the hub is not reached.
            ValueError: it refuses.
        """
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        try:
            self.api.create_repo(repo, private=private, exist_ok=True)
            self.api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Model, bundle and card")
        except OfflineModeIsEnabled:
            raise OSError("the hub is not asked, as HF_HUB_OFFLINE is set: unset it, or use --dry_run") from None
        except HFValidationError as error:
            raise ValueError(f"'{repo}' is no name of a repository: {error}") from None
        except HfHubHTTPError as error:
            raise ValueError(f"the hub refuses {repo}: {_reason(error)}") from None
        except Exception as error:  # of the library beneath, whose name changed from version to version
            if not isinstance(error, ConnectionError | TimeoutError) and "http" not in type(error).__module__:
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OSError(
                f"the hub at {self.api.endpoint} is not reached ({reason}); --dry_run needs no network"
            ) from None
        return f"{self.api.endpoint}/{repo}"


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    told = {
        401: "the token is not valid; log in again with `hf auth login`",
        403: "the token may not write there; use one that may, or a name of your own",
        429: "too many requests; try again later",
    }.get(status or 0)
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"{told} (status {status})" if told else first[:300]
