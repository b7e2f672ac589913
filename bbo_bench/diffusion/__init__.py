"""What every diffusion optimizer shares: prior, sampler, likelihood, replay and the fine-tuner."""
