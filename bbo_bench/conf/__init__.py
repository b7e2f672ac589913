"""The configuration of a run: `config.yaml`, budgets and experiments."""
