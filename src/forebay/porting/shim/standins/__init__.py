"""Libraries that exist only for CUDA, over torch's own operators.

finder.Finder -> packages/NAME -> attention.py and torch; what can't be carried is refused by name (refuse.py)
"""
