"""Notebooks on the marts: the `.py` files here are marimo notebooks, but for these shared modules.

`warehouse` asks the questions, `show` draws the answers, `report` makes mailable pages of both.
"""
