"""`serve`: what stands on its command line, and what it refuses in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lightning_tl.cli import main
from lightning_tl.cli.commands.serve_options import read_serve_options, serve_help
from lightning_tl.cli.errors import UserError
from lightning_tl.serving.service.settings import ServiceSettings


def test_names_are_given_or_those_of_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "20260101-000000"
    (run / "bundle").mkdir(parents=True)
    (run / "config.yaml").touch()
    found = read_serve_options(["--run", "land=runs/a", "--bundle", "news", "--bundle=runs/20260101-000000/bundle"])
    assert found.runs == {"land": tmp_path / "runs" / "a"}
    assert found.bundles == {"news": tmp_path / "news", "20260101-000000": run / "bundle"}
    odd = read_serve_options(["--bundle", "some/a=b"])
    assert odd.bundles == {"a=b": tmp_path / "some" / "a=b"}, "a folder's name may have the sign"


def test_every_limit_can_be_set_and_is_in_the_help() -> None:
    limits = [name for name in ServiceSettings.__dataclass_fields__]
    found = read_serve_options(["--run=a", *(f"--{name}=300" for name in limits), "--threads=2", "--port=0"])
    assert ServiceSettings(**found.settings) == ServiceSettings(**dict.fromkeys(limits, 300))
    assert (found.threads, found.port, found.host) == (2, 0, "127.0.0.1")
    for name in limits:
        default = getattr(ServiceSettings(), name)
        line = re.search(rf"--{name} N .*default ([\d,.]+)", serve_help())
        assert line and float(line.group(1).replace(",", "")) == default


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "serve needs --run"),
        (["--run", "a", "--prot=1"], "no option '--prot' (nearest: --port"),
        (["--run", "a", "extra"], "no option 'extra'"),
        (["--run", "x=a", "--bundle", "x=b"], "two models are called 'x'"),
        (["--run", "x="], "names no folder"),
        (["--run", "a", "--port", "70000"], "port must be from 0 to 65535, got 70000"),
        (["--run", "a", "--port", "http"], "--port: must be a whole number, got 'http'"),
        (["--run", "a", "--queue", "1.5"], "--queue: must be a whole number, got '1.5'"),
        (["--run", "a", "--threads", "0"], "threads must be at least 1, got 0"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        read_serve_options(arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bundle", "nothing"], "nothing"),
        (["--run", "nothing"], "there is no run folder"),
        (["--bundle", "metrics=."], "cannot be called 'metrics'"),
        (["--bundle", "x=.", "--queue", "10"], "queue must hold one request"),
        (["--bundle", "x=.", "--deadline_s", "0"], "deadline_s must be above 0"),
        (["--bundle", "x=.", "--deadline_s", "nan"], "deadline_s must be above 0 and finite"),
        (["--bundle", "x=.", "--host", "192.0.2.1"], "no address of this machine"),
    ],
)
def test_what_cannot_be_served(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["serve", *arguments, "--port=0"])
    told = capsys.readouterr().err
    assert exit_.value.code == 2 and said in told and len(told.splitlines()) == 1, told


def test_an_empty_token_is_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIGHTNING_TL_TOKEN", " ")
    with pytest.raises(SystemExit):
        main(["serve", "--bundle", str(tmp_path), "--port=0"])
    assert "LIGHTNING_TL_TOKEN is set and empty" in capsys.readouterr().err
