"""Which families of models open, train, export and read back: a Markdown table, with what is refused and why.

    python scripts/benchmarks/families.py vision              # the families that AutoModelForImageClassification knows
    python scripts/benchmarks/families.py vision --only vit,swin
    python scripts/benchmarks/families.py text                # those that AutoModelForSequenceClassification knows
    python scripts/benchmarks/families.py timm                # timm's, a family being one of its files of models

Each family is built small from its own configuration and saved to disk. The columns: it opens, and the features of a
batch are those of its samples one by one (width of the features / number of layer groups); one after another, every
adaptation trains what it should and nothing else; it exports, in one part where the family's own classifier holds the
head; the exported folder gives the same logits to 1e-4.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))  # from a checkout that is not installed, too

from family_checks import Adaptations, Row, check_family

from lightning_tl.adaptation import Adapters, Frozen, Full, LoRA, Prompts, TopGroups, VisualPrompts

VISION: Adaptations = {
    "Full": Full,
    "Frozen": Frozen,
    "TopGroups": lambda: TopGroups(1),
    "LoRA": LoRA,
    "Adapters": lambda: Adapters(4),
    "VisualPrompts": lambda: VisualPrompts(2),
}
TEXT: Adaptations = {
    "Full": Full,
    "Frozen": Frozen,
    "TopGroups": lambda: TopGroups(1),
    "LoRA": LoRA,
    "Adapters": lambda: Adapters(4),
    "Prompts": lambda: Prompts(2),
}


def vision_rows(only: Collection[str], left_out: dict[str, str]) -> Iterator[Row]:
    """A row for each classifier of images that transformers has.

    Args:
        only: families to try; empty for all.
        left_out: filled with those that cannot be tried here, and why.
    """
    import small_vision

    from lightning_tl.backbones import HuggingFaceVision

    for family, kinds in small_vision.families().items():
        if only and family not in only:
            continue
        if family in small_vision.LEFT_OUT:
            left_out[family] = small_vision.LEFT_OUT[family]
            continue
        for kind in kinds:
            name = family if len(kinds) == 1 else f"{family} ({kind.partition('ForImageClassification')[2] or 'plain'})"
            with tempfile.TemporaryDirectory() as where:
                try:
                    folder = small_vision.save_small(family, kind, Path(where) / "model")
                except ImportError as error:
                    left_out[name] = f"needs a library: {' '.join(str(error).split())}"
                    continue
                yield check_family(name, lambda: HuggingFaceVision(str(folder)), VISION, Path(where) / "out")  # noqa: B023


def text_rows(only: Collection[str], left_out: dict[str, str]) -> Iterator[Row]:
    """A row for each classifier of texts that transformers has. Arguments as of `vision_rows`."""
    import small_text

    from lightning_tl.backbones import HuggingFaceText

    for family, kind in small_text.families().items():
        if only and family not in only:
            continue
        if family in small_text.LEFT_OUT:
            left_out[family] = small_text.LEFT_OUT[family]
            continue
        with tempfile.TemporaryDirectory() as where:
            try:
                folder = small_text.save_small(family, kind, Path(where) / "model")
            except ImportError as error:
                left_out[family] = f"needs a library: {' '.join(str(error).split())}"
                continue
            except (ValueError, RuntimeError, KeyError) as error:
                left_out[family] = f"is not built small by this script's settings: {' '.join(str(error).split())}"
                continue
            yield check_family(family, lambda: HuggingFaceText(str(folder), max_length=40), TEXT, Path(where) / "out")  # noqa: B023


def timm_rows(only: Collection[str], left_out: dict[str, str]) -> Iterator[Row]:
    """A row for each of timm's files of models. Arguments as of `vision_rows`."""
    import small_timm

    from lightning_tl.backbones import TimmBackbone

    for family in small_timm.families():
        if only and family not in only:
            continue
        if family in small_timm.LEFT_OUT:
            left_out[family] = small_timm.LEFT_OUT[family]
            continue
        with tempfile.TemporaryDirectory() as where:
            folder = small_timm.save_small(family, Path(where) / "model")
            yield check_family(family, lambda: TimmBackbone(str(folder)), VISION, Path(where) / "out")  # noqa: B023


def print_table(rows: Sequence[Row], adaptations: Adaptations, left_out: dict[str, str]) -> None:
    """The table, the counts, and what was said to those that are refused."""
    print(f"| family | features / groups | {' | '.join(adaptations)} | exports |")
    print(f"|---|---|{'---|' * len(adaptations)}---|")
    for row in rows:
        cells = [_cell(row, name) for name in adaptations] if row.opens else ["" for _ in adaptations]
        print(f"| {row.family} | {row.opens or _cell(row, 'opens')} | {' | '.join(cells)} | {row.exports} |")
    opened = [row for row in rows if row.opens]
    whole, honest = sum(row.whole for row in rows), sum(row.honest for row in rows)
    print(
        f"\nOf {len(rows)} families, {len(opened)} open; {whole} ({whole / max(len(rows), 1):.0%}) do all four: open, "
        f"train, export and read back. In {honest} every adaptation does so or is refused in one sentence."
    )
    for name in adaptations:
        trained, read = (sum(name in names for names in lists) for lists in _lists(rows))
        print(f"- {name}: {trained} train, {read} read back")
    for title, said in (("Refused", "refused"), ("Wrong", "wrong")):
        lines = [f"- {row.family}, {what}: {text}" for row in rows for what, text in getattr(row, said).items()]
        print("\n".join([f"\n{title}: {len(lines)}", *lines]))
    if left_out:
        print("\nLeft out:")
        print("\n".join(f"- {family}: {why}" for family, why in left_out.items()))


def _lists(rows: Sequence[Row]) -> tuple[list[list[str]], list[list[str]]]:
    return [row.trains for row in rows], [row.reads_back for row in rows]


def _cell(row: Row, name: str) -> str:
    if name in row.wrong:
        return "WRONG"
    return "refused" if name in row.refused else "yes"


def main() -> None:
    """Print the table of a kind of models."""
    import transformers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["vision", "text", "timm"])
    parser.add_argument("--only", default="", help="families, with commas between")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    left_out: dict[str, str] = {}
    kinds = {"vision": (vision_rows, VISION), "text": (text_rows, TEXT), "timm": (timm_rows, VISION)}
    made, adaptations = kinds[arguments.kind]
    rows = list(made({name for name in arguments.only.split(",") if name}, left_out))
    print_table(rows, adaptations, left_out)
    sys.exit(any(row.wrong for row in rows))


if __name__ == "__main__":
    main()
