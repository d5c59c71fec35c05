"""The training loop and its stages: pretraining, SFT, reward model, PPO, DPO."""
