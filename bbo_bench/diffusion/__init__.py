"""Diffusion models of designs: network, schedule, sampler, codec, likelihood, consistency model and training."""
