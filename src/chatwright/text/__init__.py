"""Text: normalisation, quality rules, deduplication, personal data, the curation stage and token shards."""

from chatwright.text.curate import DOCUMENTS, DROPPED, HOLDOUT, Dropped, curate, inputs_id, read_documents, run
from chatwright.text.dedup import NearDuplicates, fingerprint
from chatwright.text.normalise import normalise
from chatwright.text.pii import find as find_pii
from chatwright.text.pii import mask as mask_pii
from chatwright.text.quality import Finding, judge
from chatwright.text.score import CurationScore, score
from chatwright.text.shards import Tokenizer, TokenShards, write_shards

__all__ = [
    "DOCUMENTS",
    "DROPPED",
    "HOLDOUT",
    "CurationScore",
    "Dropped",
    "Finding",
    "NearDuplicates",
    "TokenShards",
    "Tokenizer",
    "curate",
    "find_pii",
    "fingerprint",
    "inputs_id",
    "judge",
    "mask_pii",
    "normalise",
    "read_documents",
    "run",
    "score",
    "write_shards",
]
