"""The inside of a job: one parent process that starts the ranks of a run, and what a rank does before the tenant's code.

Works on Python 3.9 and later with torch 2.4 and later, because it runs in the base environment that a card's vendor ships.
"""
