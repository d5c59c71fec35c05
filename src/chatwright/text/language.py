"""A guess at the language from stop words: enough to know which rules apply, not a language identifier."""

from __future__ import annotations

import re
from collections import Counter

# The most frequent function words of languages in Latin script. A word that two languages share counts for both.
STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the be to of and that have with a an in is are was were it for on as by at this from or not but he she "
              "they his her you i we has had can its there what when which will if do does so",
        "es": "el la los las de que y en un una por con para se no es del al lo como más su pero sus son está muy fue "
              "hay qué ser",
        "fr": "le la les de des et un une en est que qui dans pour par sur au aux du ce cette il elle ne pas plus avec "
              "sont se son sa nous vous je à",
        "de": "der die das und ist nicht ein eine einen dem den des zu von mit sich auf für im in es auch als er sie "
              "wird sind war an bei ich wie aus",
        "it": "il lo la gli le di che e un una in per con non è del della dei si da come più sono al nel anche ma",
        "pt": "o a os as de que e um uma em para com não é do da dos das se por mais como no na ao foi são",
        "nl": "de het een en van in is dat op te zijn met voor niet aan er om ook als bij ze hij maar wordt",
        "sv": "och att det som en på är av för med den till inte om ett har de jag var han hon så",
        "da": "og at det som en på er af for med den til ikke om et har de jeg var han hun så",
        "no": "og at det som en på er av for med den til ikke om et har de jeg var han hun så",
        "fi": "ja on ei se että oli hän ovat joka kun mutta myös kuin niin ne hänen tai sen",
        "pl": "i w na z do nie się że jest to o po jak za przez od są ale co był która który",
        "cs": "a v na se je že z do to s o i jako za pro k by ale jsou byl která který",
        "ro": "și în de la cu o un nu pe este că din a care să mai sunt pentru au",
        "tr": "ve bir bu da de için ile o ne çok gibi daha olarak var en olan ama",
        "hu": "a az és hogy nem is egy van volt meg ez de ha csak már mint",
        "id": "yang dan di dari untuk ini itu dengan pada tidak adalah ke dalam akan oleh",
        "vi": "và của là có không được một cho trong với những các này đã người",
        "sw": "na ya wa kwa ni katika za la cha hii kuwa kama alisema watu lakini",
    }.items()
}  # fmt: skip

_ANY_STOP_WORD = frozenset().union(*STOP_WORDS.values())
_LATIN_WORD = re.compile(r"[a-zà-öø-ɏḀ-ỿ]+")


def latin_words(text: str) -> list[str]:
    return _LATIN_WORD.findall(text.lower())


def guess_language(words: list[str]) -> str | None:
    """The language with most stop words in lower-case `words`, None where there is none; English wins a tie."""
    best, most = None, 0
    counts = Counter(word for word in words if word in _ANY_STOP_WORD)
    for language, stop_words in STOP_WORDS.items():
        found = sum(counts[word] for word in counts.keys() & stop_words)
        if found > most:
            best, most = language, found
    return best
