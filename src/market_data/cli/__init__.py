"""The commands: those that move data, and those for a person at a terminal.

Results go to standard output; progress and complaints to standard error.
"""
