"""How chips are joined: links, topologies, and collectives as rounds of sends."""
