"""What crosses a border between rooms: batches, input specs, layer groups, event logs, the description of a run.

Every room may import it, `datamodules` too. It knows neither data nor models, and imports nothing of this project but
`storage` and `compat`.
"""
