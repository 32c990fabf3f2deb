"""A judge of the marts, written from the contract alone: brute force in plain Python, one module per family of marts.

Whoever changes a rule in the contract changes it here by hand. Nothing here imports from the models or reads their SQL.
"""
