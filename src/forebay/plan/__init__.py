"""How to cut the work: models, workloads, plans and menus."""
