"""`python -m lightning_tl` is the same as the command `lightning-tl`."""

from lightning_tl.cli import main

if __name__ == "__main__":
    main()
