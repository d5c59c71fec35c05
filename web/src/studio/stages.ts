/** What each stage does, for somebody who sees it for the first time. A build's own words come first. */
export const ABOUT: Record<string, string> = {
  corpus: "The text of a small invented world is written: facts, stories, dialogues. It is all this model will ever read.",
  curate: "Bad text goes: copies, boilerplate, gibberish, private data. Every dropped document keeps its reason.",
  tokenizer: "The pieces of words that the model reads and writes are learned from the text: frequent pieces become one token.",
  pretrain:
    "The model reads and learns to guess the next token. It picks up grammar and facts, but nobody has told it yet that it should answer.",
  sft: "The model is shown thousands of good answers and learns to give one: this turns a text completer into an assistant.",
  rank: "The fine-tuned model answers each prompt several times, and raters put the answers in order.",
  reward: "A second model learns from the rankings to say how much people would like an answer.",
  ppo: "The assistant answers, the reward model scores, and answers that score well become likelier, without straying far from the fine-tuned model.",
  dpo: "A second way to the same end: straight from pairs of better and worse answers, without a reward model.",
  evaluate: "Every version answers prompts that nothing was trained on, and is graded. The best one is served.",
};

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

/** Columns of the samples panel, in the order of the lifecycle. */
export const SPEAKERS: Record<string, string> = {
  pretrain: "Base",
  sft: "Fine-tuned",
  ppo: "Aligned · PPO",
  dpo: "Aligned · DPO",
};
