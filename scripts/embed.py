"""Write the embeddings of a data set: `python scripts/embed.py --recipe text_linear_probe --output reviews.parquet`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works from a checkout that is not installed, too

from lightning_tl.cli import main

if __name__ == "__main__":
    main(["embed", *sys.argv[1:]])
