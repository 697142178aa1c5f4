"""Tables in every format that is read, as they are stored.

It knows no column's meaning.
"""

from datamodules.tables.tables import check_columns, joined, read_table, row_list, row_names

__all__ = ["check_columns", "joined", "read_table", "row_list", "row_names"]
