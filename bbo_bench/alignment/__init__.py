"""What methods that fine-tune or steer a diffusion model share: policy, rollouts, losses, budgets and replay."""
