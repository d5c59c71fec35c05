"""The sections of the settings: every number a stage uses, with its unit; a stage gets its own section and no other.

They become one tree in `settings.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Ensemble = Literal["mean", "min", "uncertainty"]
PreferenceLoss = Literal["dpo", "robust", "ipo", "norm", "simpo", "orpo", "kto"]
GroupMethod = Literal["rloo", "grpo", "dr_grpo"]
Aggregation = Literal["token", "sequence", "constant"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SamplingConfig(Section):
    temperature: float = Field(default=0.7, ge=0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=128, gt=0)


class StarterConfig(Section):
    """The embedded world: how much of it is generated."""

    documents: int = Field(default=24_000, gt=0, description="corpus documents before curation")
    demonstrations: int = Field(default=16_500, gt=0)
    train_prompts: int = Field(default=4_000, gt=0, description="prompts that PPO and DPO may sample from")
    heldout_prompts: int = Field(default=1200, gt=0, description="prompts nothing is trained on, all skills together")
    raters: int = Field(default=8, gt=0, description="simulated people who rank")


class TextConfig(Section):
    """Curation of raw documents."""

    normalise: Literal["NFC", "NFKC"] = "NFC"
    quality: bool = True
    min_words: int = Field(default=8, ge=0, description="shorter documents are dropped")
    exact_dedup: bool = True
    near_dedup: bool = True
    near_threshold: float = Field(default=0.75, gt=0, le=1, description="Jaccard similarity of word 5-grams")
    mask_pii: bool = True
    holdout_fraction: float = Field(default=0.01, ge=0, lt=1, description="documents set apart for bits per byte")


class TokenizerConfig(Section):
    vocab_size: int = Field(default=4096, ge=300)


class ModelConfig(Section):
    """Shape of a new decoder; the vocabulary comes from the tokenizer."""

    layers: int = Field(default=4, gt=0)
    width: int = Field(default=128, gt=0)
    heads: int = Field(default=1, gt=0)
    kv_heads: int = Field(default=1, gt=0)
    head_width: int = Field(default=0, ge=0, description="0: width / heads")
    mlp_width: int = Field(default=352, gt=0)
    context: int = Field(default=384, gt=8, description="longest sequence in tokens")
    rope_theta: float = 10_000.0
    qk_norm: bool = True
    tie_embeddings: bool = False


class OptimConfig(Section):
    """Muon for the matrices inside the blocks, AdamW for the rest; trapezoid schedule."""

    matrices: Literal["muon", "adamw"] = Field(default="muon", description="what moves the matrices inside the blocks")
    muon_lr: float = Field(default=0.02, ge=0)
    adam_lr: float = Field(default=0.015, ge=0)
    embed_lr: float = Field(default=0, ge=0, description="AdamW's for untied input embeddings; 0: adam_lr")
    muon_momentum: float = Field(default=0.95, ge=0, lt=1)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.02, ge=0, le=1, description="fraction of the steps")
    decay: float = Field(default=0.5, ge=0, le=1, description="fraction of the steps, linear, at the end")
    final_lr: float = Field(default=0.05, ge=0, le=1, description="fraction of the peak at the last step")
    clip: float = Field(default=1.0, gt=0, description="gradient norm over the AdamW group (Muon normalises itself)")


class LoraConfig(Section):
    """Low-rank adapters instead of all weights (Hu et al. 2021); AdamW trains them at `optim.adam_lr`."""

    rank: int = Field(default=0, ge=0, description="0: all weights are trained")
    alpha: float = Field(default=16.0, gt=0, description="the adapter counts alpha / rank times")
    targets: Literal["all", "attention"] = "all"


class TrainConfig(Section):
    """What every training stage shares."""

    optim: OptimConfig = OptimConfig()
    micro_tokens: int = Field(default=8192, gt=0, description="tokens in one forward pass on one rank")
    sequence: int = Field(default=256, gt=8, description="tokens in one packed row")
    checkpoint_every: int = Field(default=100, gt=0, description="steps")
    evaluate_every: int = Field(default=200, gt=0, description="steps")
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class StepConfig(TrainConfig):
    """Training in steps of so many tokens."""

    batch_tokens: int = Field(default=2048, gt=0, description="tokens in one optimiser step, over all ranks")


class PretrainConfig(StepConfig):
    optim: OptimConfig = OptimConfig(embed_lr=0.3, muon_momentum=0.9, adam_beta1=0.7)
    tokens: int = Field(default=1_700_000, gt=0, description="tokens seen in all")
    minutes: float = Field(default=0, ge=0, description="if above 0: stop after this many minutes of training instead")


class SftConfig(StepConfig):
    lora: LoraConfig = LoraConfig()
    optim: OptimConfig = OptimConfig(muon_lr=0.02, adam_lr=0.01, embed_lr=0.3, muon_momentum=0.9, adam_beta1=0.7)
    sequence: int = Field(default=256, gt=8, description="tokens in one packed row, and in the longest conversation")
    epochs: float = Field(default=2.0, gt=0)


class RewardConfig(StepConfig):
    optim: OptimConfig = OptimConfig(muon_lr=0.02, adam_lr=0.002, embed_lr=0.02)
    sequence: int = Field(default=128, gt=8, description="tokens in one packed row, at least the longest answer's")
    epochs: float = Field(default=3.0, gt=0)
    responses: int = Field(default=4, ge=2, le=9, description="K responses ranked per prompt")
    prompts: int = Field(default=1_200, gt=0, description="prompts that are ranked")
    temperature: float = Field(default=1.0, gt=0, description="at which the ranked responses are sampled")
    center: float = Field(default=0.01, ge=0, description="weight of the squared mean reward of a pair")
    rubric_coef: float = Field(
        default=5.0, ge=0, description="weight of the rubric's marks, where given; 0: order alone"
    )
    holdout_fraction: float = Field(default=0.12, gt=0, lt=1)


class MonitorConfig(Section):
    """When reward learning has gone too far; read where a gold measure is given. See `train/gold_monitor.py`."""

    every: int = Field(default=4, gt=0, description="iterations between two measurements")
    prompts: int = Field(default=256, ge=30, description="held-out prompts that are answered in each of them")
    window: int = Field(default=2, gt=0, description="newest measurements that are pooled and set against the best")
    false_alarm: float = Field(
        default=0.05, gt=0, lt=0.5, description="largest chance to stop a run whose gold does not fall"
    )
    length_drift: float = Field(default=0.5, gt=0, description="alarm: change of the mean length, against the start's")
    ended_drop: float = Field(default=0.1, gt=0, le=1, description="alarm: fall of the share of answers with an end")
    entropy_floor: float = Field(default=0.5, ge=0, lt=1, description="alarm: entropy under so much of the start's")
    disagreement_rise: float = Field(
        default=2.0, gt=1, description="alarm: reward models so many times as far apart as at the start"
    )
    agreement_rise: float = Field(
        default=0.1, gt=0, le=1, description="alarm: rise of the share of wrong users who are told that they are right"
    )


class EnsembleConfig(Section):
    """How several reward models become one reward (Coste et al. 2023); one alone is taken as it is."""

    combine: Ensemble = Field(default="mean", description="uncertainty: mean - variance_coef x variance")
    variance_coef: float = Field(default=0.5, ge=0, description="price of the members' variance under uncertainty")


class RolloutConfig(TrainConfig):
    """What methods share that learn from answers they sample themselves."""

    optim: OptimConfig = OptimConfig(muon_lr=0.003, adam_lr=0.0005, embed_lr=0.005, warmup=0.1, decay=0.5)
    lora: LoraConfig = LoraConfig()
    checkpoint_every: int = Field(default=2, gt=0, description="iterations")
    evaluate_every: int = Field(default=8, gt=0, description="iterations")
    iterations: int = Field(default=40, gt=0, description="rollout batches")
    epochs: int = Field(default=1, gt=0, description="passes over one rollout batch")
    minibatches: int = Field(default=4, gt=0, description="optimiser steps per pass")
    max_tokens: int = Field(default=64, gt=0, description="longest response")
    temperature: float = Field(default=1.0, gt=0)
    kl_coef: float = Field(default=0.05, ge=0, description="price of one nat of KL to the SFT model")
    clip_range: float = Field(default=0.2, gt=0)
    missing_end_penalty: float = Field(default=1.0, ge=0, description="taken off the reward where the end is missing")


class PpoConfig(RolloutConfig):
    """Proximal policy optimisation from a reward model (Ouyang et al. 2022; Schulman et al. 2017)."""

    rollouts: int = Field(default=128, gt=0, description="responses sampled per iteration")
    kl_target: float = Field(default=0, ge=0, description="nats an answer that the price is adapted to; 0: fixed price")
    kl_horizon: int = Field(default=1280, gt=0, description="answers over which the price adapts: ten batches")
    value: Literal["separate", "shared"] = Field(
        default="separate", description="a value model that began as the reward model, or a head on the policy's trunk"
    )
    value_clip: float = Field(default=0.2, gt=0)
    value_coef: float = Field(default=0.1, gt=0, description="weight of the value loss where the trunk is shared")
    gamma: float = Field(default=1.0, gt=0, le=1)
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    cut: Literal["penalise", "bootstrap"] = Field(
        default="penalise",
        description="an answer cut at max_tokens pays missing_end_penalty, or counts what the value model expects",
    )
    ptx_coef: float = Field(
        default=0.25, ge=0, description="weight of rehearsed demonstrations, where given; 0: plain PPO"
    )
    ptx_tokens: int = Field(default=512, gt=0, description="tokens of demonstrations rehearsed in one optimiser step")
    ensemble: EnsembleConfig = EnsembleConfig()
    monitor: MonitorConfig = MonitorConfig()

    @model_validator(mode="after")
    def _price_can_adapt(self) -> PpoConfig:
        if self.kl_target and not self.kl_coef:
            raise ValueError("ppo.kl_target adapts the price ppo.kl_coef, which must not be 0 to begin with")
        return self


class GrpoConfig(RolloutConfig):
    """Policy gradients whose baseline is the group of answers to one prompt; see `train/group_advantages.py`."""

    optim: OptimConfig = OptimConfig(muon_lr=0.004, adam_lr=0.001, embed_lr=0.01, warmup=0.1, decay=0.5)
    iterations: int = Field(default=32, gt=0, description="rollout batches")
    prompts: int = Field(default=48, gt=0, description="prompts asked per iteration")
    answers: int = Field(default=8, ge=2, description="K answers sampled to each of them")
    minibatches: int = Field(default=3, gt=0, description="optimiser steps per pass")
    max_tokens: int = Field(default=80, gt=0, description="longest response")
    kl_coef: float = Field(default=0.02, ge=0, description="price of one nat of KL to the SFT model; 0: free")
    method: GroupMethod = "grpo"
    aggregation: Aggregation | Literal[""] = Field(
        default="", description="how actions are averaged; empty: as the method does (sequence for grpo, else constant)"
    )
    kl_in: Literal["loss", "reward"] = Field(
        default="loss", description="KL as the estimator k3 in the loss, or as k1 taken off the reward"
    )
    test_seconds: int = Field(default=2, gt=0, description="CPU time for the tests of one answer")
    test_memory_mb: int = Field(default=512, gt=0, description="address space for the tests of one answer")

    @property
    def rollouts(self) -> int:
        """Responses sampled per iteration."""
        return self.prompts * self.answers


class BestOfNConfig(Section):
    """Rejection sampling: several answers a prompt, the one a reward model likes best is kept."""

    n: int = Field(default=16, ge=2, description="answers sampled per prompt")
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int = Field(default=64, gt=0, description="longest answer")
    missing_end_penalty: float = Field(default=1.0, ge=0, description="taken off the score where the end is missing")
    chunk: int = Field(default=64, gt=0, description="prompts between two saves")
    micro_tokens: int = Field(default=8192, gt=0, description="tokens in one forward pass of a reward model")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    ensemble: EnsembleConfig = EnsembleConfig()
    bootstrap: int = Field(default=2_000, gt=0, description="resamples behind each confidence interval")
    confidence: float = Field(default=0.95, gt=0, lt=1)


class DpoConfig(StepConfig):
    """Direct preference optimisation (Rafailov et al. 2023) and its family; see `train/preference_losses.py`."""

    optim: OptimConfig = OptimConfig(muon_lr=0.002, adam_lr=0.0005, embed_lr=0.005)
    lora: LoraConfig = LoraConfig()
    sequence: int = Field(default=128, gt=8, description="tokens in one packed row, at least the longest answer's")
    epochs: float = Field(default=1.0, gt=0)
    loss: PreferenceLoss = "dpo"
    beta: float = Field(default=0, ge=0, description="0: the usual one; 0.1, for norm 5, for simpo 2")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=0.5, description="chance that a label is flipped (cDPO, robust, norm, simpo)"
    )
    margin: float = Field(default=0.0, ge=0, description="by which simpo wants the better answer ahead")

    @model_validator(mode="after")
    def _belongs_to_the_loss(self) -> DpoConfig:
        if self.margin and self.loss != "simpo":
            raise ValueError(f"dpo.margin belongs to simpo; the loss {self.loss} has none")
        if self.label_smoothing and self.loss in ("ipo", "orpo", "kto"):
            raise ValueError(f"the loss {self.loss} knows no dpo.label_smoothing; leave it out or choose another loss")
        return self


class OnlineConfig(Section):
    """Online DPO: what the policy is asked in each round, and how often."""

    rounds: int = Field(default=3, gt=0)
    prompts: int = Field(default=400, gt=0, description="prompts answered in a round")
    responses: int = Field(default=4, ge=2, le=64, description="answers to each, ranked by the reward model")
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int = Field(default=64, gt=0, description="longest answer")


class EndpointConfig(Section):
    """How an endpoint that criticises is asked."""

    parallel: int = Field(default=8, gt=0, description="requests at once")
    attempts: int = Field(default=6, gt=0, description="tries of one request, with growing pauses between them")
    timeout: float = Field(default=120.0, gt=0, description="seconds until a request counts as lost")


class ConstitutionConfig(Section):
    """Critique, revision and AI feedback (Bai et al. 2022, Constitutional AI); see `train/constitutional/`."""

    rounds: int = Field(default=3, gt=0, description="critiques of one answer, each under another principle")
    examples: int = Field(default=0, ge=0, description="of the constitution, shown to the critic first, as they fit")
    answer: SamplingConfig = SamplingConfig(temperature=1.0, max_tokens=64)
    critic: SamplingConfig = SamplingConfig(temperature=0.3, max_tokens=80)
    chunk: int = Field(default=64, gt=0, description="prompts between two entries of the journal")
    train_on: Literal["last", "all"] = Field(default="last", description="the last revision of a prompt, or each")
    helpful_weight: float = Field(default=1.0, gt=0, description="of a helpful demonstration beside a revision's 1")
    sft: SftConfig = SftConfig(
        optim=OptimConfig(muon_lr=0.01, adam_lr=0.003, embed_lr=0.05, muon_momentum=0.9, adam_beta1=0.7), epochs=1.0
    )
    feedback_principles: int = Field(default=0, ge=0, description="asked about one pair of answers; 0: all")
    reasoning: bool = Field(default=False, description="whether the critic reasons before it compares")
    clamp: float = Field(default=0.4, ge=0, lt=0.5, description="with reasoning, labels lie in clamp..1-clamp")
    endpoint: EndpointConfig = EndpointConfig()


class EvaluateConfig(Section):
    sampling: SamplingConfig = SamplingConfig(temperature=0.7, max_tokens=80)
    bootstrap: int = Field(default=2_000, gt=0, description="resamples behind each confidence interval")
    confidence: float = Field(default=0.95, gt=0, lt=1)


class ServeConfig(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8600, ge=0, le=65_535)
    max_batch: int = Field(default=16, gt=0, description="requests one engine process answers at once")
    max_queue: int = Field(default=64, gt=0, description="requests that may wait before 429")
    accounts: Literal["local", "people"] = Field(
        default="local", description="local: one person, on this machine only; people: everybody signs in"
    )
    public_url: str = Field(default="", description="address by which people come, as https://chat.example.org")
    proxy: str = Field(
        default="", description="address of the proxy whose X-Forwarded-For is believed; empty: nobody's is"
    )
    session_days: int = Field(default=60, gt=0, description="after which everybody signs in again")
    session_idle_days: int = Field(default=14, gt=0, description="without use, after which a session is over")
    oidc_issuer: str = Field(default="", description="OpenID Connect provider by which people may sign in")
    oidc_client_id: str = ""
    oidc_secret_env: str = Field(default="", description="environment variable with the client's secret; empty: none")
    oidc_name: str = Field(default="single sign-on", description="what the provider is called on the sign-in page")
    oidc_sign_up: bool = Field(default=False, description="an account for everybody the provider knows")
    requests_per_minute: int = Field(default=0, ge=0, description="of one person or client; 0: as many as they like")
    requests_per_address: int = Field(default=0, ge=0, description="a minute, with accounts; 0: any number")
    tokens_per_minute: int = Field(default=0, ge=0, description="of one person, read and written; 0: any number")
    streams: int = Field(default=0, ge=0, description="answers written at once for one person; 0: any number")
    key_env: str = Field(default="", description="with local accounts, variable with the key that /v1 asks for")
    keep_days: int = Field(default=90, ge=0, description="that an answer which was not stored is known; 0: for ever")
    keep_rows: int = Field(default=1_000_000, ge=0, description="of such answers at most; 0: any number")
    database: str = Field(default="", description="URL of the database; empty: chatwright.db in the workspace")
    weights: Literal["auto", "fp32", "bf16", "int8"] = Field(
        default="auto", description="auto: int8 on a CPU where the model is measured to write the same, else fp32"
    )
    threads: int = Field(default=0, ge=0, description="of each engine; 0: one for a small model, else one per core")
    lookup: int = Field(
        default=0, ge=0, le=32, description="tokens guessed ahead from what stands before: sooner where text repeats"
    )
    sampling: SamplingConfig = SamplingConfig()


class MachineConfig(Section):
    threads: int = Field(default=0, ge=0, description="0: chosen from the cores that are free")
    sharding: Literal["ddp", "fsdp"] = Field(
        default="ddp", description="under torchrun: whole weights on every rank, or a shard of them (FSDP2)"
    )
