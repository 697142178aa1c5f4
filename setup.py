"""Finds the packages; everything else about the distribution is in pyproject.toml."""

from setuptools import find_namespace_packages, setup

RECIPES = "lightning_tl.recipes"  # the checkout's recipes/ travel as data of lightning_tl

setup(
    packages=[
        *find_namespace_packages(
            include=["lightning_tl*", "datamodules*"], exclude=["*.egg-info*", "*.weights*", "*.__pycache__*"]
        ),
        RECIPES,
    ],
    package_dir={RECIPES: "recipes"},
)
