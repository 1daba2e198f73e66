"""What a chip is: the catalogue, the cards of a machine, and how fast a chip can be at best."""
