"""Train, test and report one recipe: `python scripts/fit.py --recipe satellite_vit`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works from a checkout that is not installed, too

from lightning_tl.cli import main

if __name__ == "__main__":
    main()
