"""What the rules drop, and what they must leave alone."""

import random
import string
from itertools import groupby

import pytest

from chatwright.text import judge

KEPT = {
    "short prose": "The heron stands in the shallow water and waits. It is a patient bird, and it eats fish and frogs.",
    "story": (
        "Mia had a small red boat. Every day she took the boat to the pond. One day the wind was strong, and the boat "
        'went far away. "Come back!" said Mia. A kind duck pushed the boat to her. Mia was happy.'
    ),
    "dialogue": "Ana: Hi!\nBen: Hello, Ana.\nAna: How are you?\nBen: Fine, thanks.\nAna: Good.\nBen: Bye!",
    "sums": "What is 12 + 7? 12 + 7 = 19. What is 3 x 14? 3 x 14 = 42. What is 100 - 58? 100 - 58 = 42.",
    "long sum": "4454794511390933 + 12 = 4454794511390945 and 17 * 23 = 391 and so on, as the pupils showed.",
    "spelling": "The word cat is spelled c a t. The word house is spelled h o u s e. It has five letters.",
    "list": "How to make tea:\n1. Boil the water.\n2. Put the tea in the pot.\n3. Pour the water on it.\n4. Drink.",
    "python": (
        "def add(a, b):\n    return a + b\n\n\nx = {'one': 1, 'two': 2}\nfor key in x:\n    print(key, x[key])\n"
    ),
    "prose with python": (
        "You can make a dictionary in Python with braces, as in ages = {'Ana': 7}, and read a value with ages['Ana']. "
        "It is one of the most useful types of the language."
    ),
    "about JavaScript": (
        "JavaScript is a programming language that runs in browsers. It was made in 1995 by Brendan Eich. "
        "Cookies are small pieces of data that a server stores in a browser; they are also something to eat."
    ),
    "questions of one form": (
        "What is the capital of Peru? The capital of Peru is Lima. What is the capital of Chile? The capital of Chile "
        "is Santiago. What is the capital of Cuba? The capital of Cuba is Havana."
    ),
    "Spanish": "La niña tiene un gato pequeño que duerme en la cocina. Por la noche el gato sale al jardín y caza.",
    "French": "Le petit chat dort dans la cuisine. La nuit, il sort dans le jardin et il chasse les souris.",
    "Polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni.",
    "Finnish": (
        "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on annettu järki ja "
        "omatunto, ja heidän on toimittava toisiaan kohtaan veljeyden hengessä."
    ),
    "Russian": "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью.",
    "Chinese": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
}

NONSENSE = (
    "Blorfa tumika selorin padeko mirusa lotane fibori garelo sunita perodo kalimo veruta nosila damero tilupo raneso"
)

DROPPED = {
    "too_short": ["Too short.", ""],
    "gibberish": [
        "xqzt kjwv plmr gfhd bnvc wqtz rtpl kjhg mnbv zxcq wrtp lkjh dfgq",
        "asdfgh jklqwe zxcvbn qwrtps dfghjk mnbvcx lkjhgf qazwsx",
        "".join(random.Random(3).choices(string.ascii_lowercase + 6 * " ", k=200)),
    ],
    "few_letters": ["@=$ %^& *()! {}| <>? ~~~ %%% $$$ &&& *** !!! @@@ the", "8347 2938 1123 9988 2231 6657 1029 3847"],
    "word_length": ["internationalisation_of_institutions " * 4 + "and the interdependence_of_the_organisations " * 4],
    "boilerplate": [
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore.",
        "Please enable JavaScript to view this page. Your browser does not support the features of this site.",
        "We use cookies to improve your experience. By using the site you accept our cookie policy.",
        "You must be logged in to view this page. Log in or create an account. Forgot your password?",
        "Home | About us | Contact us | Privacy policy | Terms of use | © 2024 Example Ltd. All rights reserved.",
    ],
    "stop_words": [NONSENSE],
    "repeated_ngrams": ["the dog and the cat are here " * 20],
    "repeated_lines": ["This is the line that comes again and again.\n" * 8],
    "layout": ["\n".join(f"Item number {n} of the long menu without any end" for n in range(20))],
    "symbols": ["# one # two # three # four # five # six # seven of the things"],
    "bullets": ["\n".join(f"- the {word} of the garden is blue" for word in ("rose", "tree", "door", "bench", "pond"))],
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_kept(name: str) -> None:
    assert judge(KEPT[name], min_words=8) is None


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in DROPPED.items() for text in texts])
def test_dropped_with_the_rule_named(rule: str, text: str) -> None:
    finding = judge(text, min_words=8)
    assert finding is not None
    assert finding.rule == rule
    assert finding.detail


def test_random_letters_are_dropped_whatever_the_seed() -> None:
    for seed in range(300):
        generator = random.Random(seed)
        words = ["".join(generator.choices(string.ascii_lowercase, k=generator.randint(3, 9))) for _ in range(20)]
        assert judge(" ".join(words), min_words=8) is not None


def test_given_language_settles_which_rules_apply() -> None:
    assert judge(NONSENSE, meta={"language": "eo"}) is None
    assert judge(NONSENSE, meta={"language": "en"}) is not None


def test_quality_off_leaves_the_length_rule() -> None:
    assert judge("buy it now " * 20, quality=False) is None
    assert judge("word", min_words=2, quality=False) is not None


def test_hardly_an_encyclopaedia_article_is_dropped(wiki: list[str]) -> None:
    dropped = [finding for text in wiki[:400] if (finding := judge(text, min_words=8))]
    assert len(dropped) <= 0.015 * 400, dropped[:5]


def test_no_language_is_dropped(translations: dict[str, list[tuple[str, str]]]) -> None:
    for language, rows in translations.items():
        texts = []
        for _, group in groupby(rows, key=lambda row: row[0]):
            sentences = [sentence for _, sentence in group]
            texts += ["\n".join(sentences[i : i + 3]) for i in range(0, len(sentences) - 2, 3)]
        dropped = [finding for text in texts[:200] if (finding := judge(text, min_words=8))]
        assert len(dropped) <= 0.02 * len(texts[:200]), (language, dropped[:5])
