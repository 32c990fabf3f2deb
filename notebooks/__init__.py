"""Notebooks on the marts. The `.py` files here are marimo notebooks, except for these shared modules:

`warehouse` runs the queries, `show` displays the answers, `report` writes both as HTML pages to mail.
"""
