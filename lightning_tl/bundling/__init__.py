"""Bundles from finished runs: the graph, what feeds it, and a card; what is written is compared with torch first."""

from lightning_tl.bundling.export_bundle import export_bundle
from lightning_tl.bundling.trained_module import trained_module
from lightning_tl.bundling.two_towers import export_two_towers

__all__ = ["export_bundle", "export_two_towers", "trained_module"]
