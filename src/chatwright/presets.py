"""The presets: what each changes of the defaults in `config.py`, which are the starter's.

`starter` builds the embedded assistant in minutes on two cores, `laptop` is for own data overnight, `gpu` for one
accelerator, `cluster` for torchrun on several, `tiny` for tests.
"""

from __future__ import annotations

from typing import Any

# The starter's few and small steps want short memories; longer training keeps the usual ones.
_STEADY = {"muon_momentum": 0.95, "adam_beta1": 0.9}
# Models that read examples in their context, and contexts that hold them.
_REAL_CRITIC = {
    "rounds": 4, "examples": 5, "answer": {"max_tokens": 256}, "critic": {"temperature": 1.0, "max_tokens": 256},
    "feedback_principles": 4,
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "starter": {},
    "tiny": {
        "starter": {
            "documents": 300, "demonstrations": 200, "train_prompts": 64, "heldout_prompts": 26, "raters": 3,
        },
        "tokenizer": {"vocab_size": 512},
        "model": {"layers": 2, "width": 32, "heads": 2, "kv_heads": 2, "mlp_width": 64, "context": 256},
        "pretrain": {"tokens": 12_288, "batch_tokens": 1024, "micro_tokens": 1024, "sequence": 128,
                     "checkpoint_every": 4, "evaluate_every": 6},
        "sft": {"epochs": 0.5, "batch_tokens": 1024, "micro_tokens": 1024, "checkpoint_every": 4,
                "evaluate_every": 6},
        "reward": {"prompts": 24, "responses": 3, "epochs": 1, "batch_tokens": 1024, "micro_tokens": 1024,
                   "checkpoint_every": 2},
        "ppo": {"iterations": 3, "rollouts": 8, "max_tokens": 12, "checkpoint_every": 1, "micro_tokens": 1024,
                "monitor": {"every": 1, "prompts": 30}},
        "grpo": {"iterations": 3, "prompts": 4, "answers": 3, "max_tokens": 12, "checkpoint_every": 1,
                 "micro_tokens": 1024},
        "best_of_n": {"n": 4, "max_tokens": 12, "chunk": 8, "micro_tokens": 1024, "bootstrap": 200},
        "dpo": {"epochs": 1, "batch_tokens": 1024, "micro_tokens": 1024, "checkpoint_every": 2},
        "online": {"rounds": 2, "prompts": 8, "responses": 3, "max_tokens": 12},
        "constitution": {"answer": {"max_tokens": 12}, "critic": {"max_tokens": 12}, "chunk": 4,
                         "sft": {"epochs": 0.5, "batch_tokens": 1024, "micro_tokens": 1024, "checkpoint_every": 4,
                                 "evaluate_every": 6}},
        "evaluate": {"sampling": {"max_tokens": 16}, "bootstrap": 200},
    },
    "laptop": {
        "tokenizer": {"vocab_size": 8192},
        "model": {"layers": 8, "width": 384, "heads": 6, "kv_heads": 6, "mlp_width": 1024, "context": 1024},
        "pretrain": {"tokens": 200_000_000, "batch_tokens": 32_768, "sequence": 512,
                     "optim": {"adam_lr": 0.006, "embed_lr": 0.3, **_STEADY}},
        "sft": {"batch_tokens": 16_384, "sequence": 512,
                "optim": {"muon_lr": 0.005, "adam_lr": 0.0015, "embed_lr": 0.03, **_STEADY}},
        "reward": {"epochs": 1, "batch_tokens": 16_384, "optim": {"muon_lr": 0.002, "adam_lr": 0.0003, "embed_lr": 0}},
        "ppo": {"iterations": 200, "max_tokens": 128, "sequence": 512, "ptx_tokens": 1024, "monitor": {"every": 10},
                "optim": {"muon_lr": 0.001, "adam_lr": 0.0001, "embed_lr": 0}},
        "grpo": {"iterations": 200, "prompts": 32, "minibatches": 2, "max_tokens": 256, "sequence": 512,
                 "optim": {"muon_lr": 0.001, "adam_lr": 0.0001, "embed_lr": 0}},
        "online": {"prompts": 2000, "max_tokens": 128},
        "best_of_n": {"max_tokens": 128},
        "dpo": {"batch_tokens": 16_384, "optim": {"muon_lr": 0.0005, "adam_lr": 0.0001, "embed_lr": 0}},
        "constitution": {**_REAL_CRITIC,
                         "sft": {"batch_tokens": 16_384, "sequence": 512,
                                 "optim": {"muon_lr": 0.002, "adam_lr": 0.0005, "embed_lr": 0.01, **_STEADY}}},
    },
    "gpu": {
        "tokenizer": {"vocab_size": 32_768},
        "model": {"layers": 12, "width": 768, "heads": 12, "kv_heads": 12, "mlp_width": 2048, "context": 2048},
        "pretrain": {"tokens": 2_000_000_000, "batch_tokens": 524_288, "micro_tokens": 65_536, "sequence": 2048,
                     "optim": {"adam_lr": 0.004, "embed_lr": 0.2, **_STEADY}},
        "sft": {"batch_tokens": 131_072, "micro_tokens": 65_536, "sequence": 2048,
                "optim": {"muon_lr": 0.002, "adam_lr": 0.0005, "embed_lr": 0.02, **_STEADY}},
        "reward": {"epochs": 1, "batch_tokens": 131_072, "micro_tokens": 65_536,
                   "optim": {"muon_lr": 0.001, "adam_lr": 0.0001, "embed_lr": 0}},
        "ppo": {"iterations": 500, "rollouts": 512, "kl_horizon": 5120, "max_tokens": 256, "micro_tokens": 65_536,
                "sequence": 2048, "ptx_tokens": 16_384, "monitor": {"every": 20, "prompts": 512},
                "optim": {"muon_lr": 0.0005, "adam_lr": 0.00005, "embed_lr": 0}},
        "grpo": {"iterations": 500, "prompts": 64, "minibatches": 2, "max_tokens": 1024, "micro_tokens": 65_536,
                 "sequence": 2048,
                 "optim": {"muon_lr": 0.0005, "adam_lr": 0.00005, "embed_lr": 0}},
        "online": {"prompts": 8000, "max_tokens": 256},
        "best_of_n": {"max_tokens": 256, "chunk": 256, "micro_tokens": 65_536},
        "dpo": {"batch_tokens": 131_072, "micro_tokens": 65_536,
                "optim": {"muon_lr": 0.0002, "adam_lr": 0.00005, "embed_lr": 0}},
        "constitution": {**_REAL_CRITIC,
                         "sft": {"batch_tokens": 131_072, "micro_tokens": 65_536, "sequence": 2048,
                                 "optim": {"muon_lr": 0.001, "adam_lr": 0.0002, "embed_lr": 0.005, **_STEADY}}},
    },
    "cluster": {
        "tokenizer": {"vocab_size": 65_536},
        "model": {"layers": 24, "width": 1536, "heads": 24, "kv_heads": 8, "mlp_width": 4096, "context": 4096},
        "pretrain": {"tokens": 20_000_000_000, "batch_tokens": 1_048_576, "micro_tokens": 32_768, "sequence": 4096,
                     "optim": {"adam_lr": 0.003, "embed_lr": 0.15, **_STEADY}},
        "sft": {"batch_tokens": 524_288, "micro_tokens": 32_768, "sequence": 4096,
                "optim": {"muon_lr": 0.001, "adam_lr": 0.0003, "embed_lr": 0.015, **_STEADY}},
        "reward": {"epochs": 1, "batch_tokens": 524_288, "micro_tokens": 32_768,
                   "optim": {"muon_lr": 0.0005, "adam_lr": 0.00005, "embed_lr": 0}},
        "ppo": {"iterations": 1000, "rollouts": 1024, "kl_horizon": 10_240, "max_tokens": 512, "micro_tokens": 32_768,
                "sequence": 4096, "ptx_tokens": 32_768, "monitor": {"every": 40, "prompts": 1024},
                "optim": {"muon_lr": 0.0003, "adam_lr": 0.00003, "embed_lr": 0}},
        "grpo": {"iterations": 1000, "prompts": 128, "answers": 16, "minibatches": 2, "max_tokens": 2048,
                 "micro_tokens": 32_768, "sequence": 4096,
                 "optim": {"muon_lr": 0.0003, "adam_lr": 0.00003, "embed_lr": 0}},
        "online": {"prompts": 20_000, "max_tokens": 512},
        "best_of_n": {"max_tokens": 512, "chunk": 256, "micro_tokens": 32_768},
        "dpo": {"batch_tokens": 524_288, "micro_tokens": 32_768,
                "optim": {"muon_lr": 0.0001, "adam_lr": 0.00003, "embed_lr": 0}},
        "constitution": {**_REAL_CRITIC,
                         "sft": {"batch_tokens": 524_288, "micro_tokens": 32_768, "sequence": 4096,
                                 "optim": {"muon_lr": 0.0005, "adam_lr": 0.0001, "embed_lr": 0.003, **_STEADY}}},
    },
}  # fmt: skip
