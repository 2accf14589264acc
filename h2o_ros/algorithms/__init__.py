"""H2O and its ablations: configuration, networks, losses, update, trainer and policy file."""
