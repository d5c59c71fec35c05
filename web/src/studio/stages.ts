/** The figure that tells how a finished stage came out, best first. */
export const KEY_FIGURES: Record<string, string[]> = {
  corpus: ["documents"],
  curate: ["kept", "documents", "dropped"],
  tokenizer: ["bytes_per_token", "vocab_size"],
  pretrain: ["bits_per_byte", "heldout_loss", "loss"],
  sft: ["gold", "heldout_loss", "loss"],
  rank: ["pairs", "comparisons"],
  reward: ["pair_accuracy", "loss"],
  ppo: ["gold", "reward"],
  dpo: ["gold", "accuracy", "loss"],
  evaluate: ["win_rate", "ppo gold", "gold"],
};

/** Columns of the samples panel, in the order of the lifecycle, and the model whose words stand there. */
export const SPEAKERS: Record<string, string> = { pretrain: "base", sft: "sft", ppo: "ppo", dpo: "dpo" };
