#!/bin/sh
# The whole lifecycle on the rows beside this file, in about a minute: every verb once, with the tiny preset. What
# comes out babbles; the same commands with your own files and `--preset laptop` are how a real one is made.
set -eu
rows=$(cd "$(dirname "$0")" && pwd)/rows
workspace=${1:-$(mktemp -d)}

# Six short texts are less than a hold-out wants; so one in three is set apart instead of one in a hundred.
options="--workspace $workspace --preset tiny --set text.holdout_fraction=0.3"
chatwright curate "$rows/documents.jsonl" $options
chatwright pretrain "$rows/documents.jsonl" $options
chatwright sft "$rows/demonstrations.jsonl" $options
chatwright reward "$rows/comparisons.jsonl" $options
chatwright ppo "$rows/prompts.jsonl" $options
chatwright dpo "$rows/comparisons.jsonl" $options
chatwright evaluate dpo "$rows/demonstrations.jsonl" "$rows/comparisons.jsonl" $options
chatwright models --workspace "$workspace"
echo "Serve it: chatwright serve dpo --workspace $workspace"
