"""The statistics of a load, against numbers worked out by hand and distributions known in closed form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chatwright.bench.arrivals import Load, made_prompt, poisson_times, read_prompts, words_for
from chatwright.bench.report import lines, plot
from chatwright.bench.timing import UNFINISHED, Bounds, Timing, percentiles, summarise
from chatwright.errors import InputError


def answer(due: float, *chunks: float, tokens: int | None = None, error: str = "", prompt: int | None = 10) -> Timing:
    return Timing(due, list(chunks), chunks[-1] if chunks else due + 1, error, prompt, tokens)


def test_percentiles_of_known_distributions() -> None:
    uniform = percentiles([n / 1000 for n in range(1001)])
    assert (uniform["p50"], uniform["p95"], uniform["p99"]) == (500, 950, 990)
    assert (uniform["mean"], uniform["max"], uniform["n"]) == (500, 1000, 1001)
    values = np.random.default_rng(3).exponential(0.2, 200_000)
    for percent in (50, 95, 99):
        assert percentiles(values.tolist())[f"p{percent}"] == pytest.approx(
            stats.expon.ppf(percent / 100, scale=200), rel=0.02
        )


def test_nothing_measured_is_none_and_not_zero() -> None:
    figures = summarise([])
    assert figures["first_token_ms"]["p50"] is None
    assert figures["throughput"] == {
        "requests_per_second": None, "output_tokens_per_second": None, "all_tokens_per_second": None,
    }  # fmt: skip
    assert figures["tokens"] == {"prompt": None, "output": None, "per_chunk": None}


def test_a_measurement_worked_out_by_hand() -> None:
    """Three answers, one refused, one broken, one that still ran: 4 seconds from the first due to the last end."""
    timings = [
        answer(10.0, 10.1, 10.2, 10.4, tokens=3),
        answer(11.0, 11.3, 11.4, 11.5, tokens=9),  # three tokens a chunk
        answer(12.0, 13.0, 14.0, tokens=2),
        answer(12.5, error="429 queue_full"),
        answer(12.6, 12.7, error="error in the stream (engine_lost)"),
        answer(12.9, 13.9, error=UNFINISHED),
    ]
    figures = summarise(timings, Bounds(first_token=0.35, between=0.5))
    assert figures["seconds"] == 4.0
    assert figures["requests"] == {"sent": 6, "completed": 3, "failed": 2, "unfinished": 1}
    assert figures["errors"] == {"429 queue_full": 1, "error in the stream (engine_lost)": 1}
    assert figures["first_token_ms"]["p50"] == 300
    assert figures["first_token_ms"]["max"] == 1000
    # Gaps: 100, 200, 100, 100, 1000; a chunk of three tokens after 100 ms stays a pause of 100 ms.
    assert figures["between_chunks_ms"] == {"p50": 100, "p95": 840, "p99": 968, "mean": 300, "max": 1000, "n": 5}
    # Per token: 300 / 2, 200 / 8, 1000 / 1.
    assert (figures["per_token_ms"]["p50"], figures["per_token_ms"]["max"]) == (150, 1000)
    assert figures["tokens"] == {"prompt": 30, "output": 14, "per_chunk": 14 / 8}
    assert figures["throughput"] == {
        "requests_per_second": 0.75, "output_tokens_per_second": 3.5, "all_tokens_per_second": 11.0,
    }  # fmt: skip
    # The third answer misses both bounds; refused and broken ones are never good; the unfinished one is no evidence.
    assert figures["goodput"] == {
        "first_token_ms": 350, "between_ms": 500, "good": 2, "share": 0.4, "requests_per_second": 0.5,
    }  # fmt: skip
    said = "\n".join(lines(figures))
    assert "3 of 6 requests answered in 4.0 s, 2 failed, 1 unfinished" in said
    assert "1 x 429 queue_full" in said


def test_tokens_are_not_guessed_where_one_answer_lacks_its_usage() -> None:
    figures = summarise([answer(0.0, 0.1, 0.2, tokens=2), answer(0.0, 0.1, 0.3, tokens=None, prompt=None)])
    assert figures["tokens"]["output"] is None
    assert figures["throughput"]["output_tokens_per_second"] is None
    assert figures["per_token_ms"]["n"] == 1
    assert "no usage" in "\n".join(lines(figures))


@given(gaps=st.lists(st.floats(0.001, 10), min_size=1, max_size=30), due=st.floats(0, 1e5))
def test_gaps_are_the_time_between_first_and_last_text(gaps: list[float], due: float) -> None:
    timing = answer(due, *(due + 0.5 + np.concatenate([[0.0], np.cumsum(gaps)])).tolist(), tokens=len(gaps) + 1)
    assert sum(timing.gaps) == pytest.approx(timing.chunks[-1] - timing.chunks[0], abs=1e-6)
    assert timing.per_token == pytest.approx(np.mean(timing.gaps), abs=1e-6)
    assert timing.first_token == pytest.approx(0.5, abs=1e-6)


@given(
    first=st.floats(0.01, 2),
    between=st.floats(0.01, 2),
    limits=st.tuples(st.none() | st.floats(0.01, 2), st.none() | st.floats(0.01, 2)),
)
def test_goodput_keeps_each_bound_alone_and_both(
    first: float, between: float, limits: tuple[float | None, float | None]
) -> None:
    timing = answer(0.0, first, first + between, tokens=2)
    gap = timing.gaps[0]
    expected = (limits[0] is None or first <= limits[0]) and (limits[1] is None or gap <= limits[1])
    assert Bounds(*limits).met(timing) == expected


def test_arrivals_are_a_poisson_process() -> None:
    times = poisson_times(50.0, 20_000, 1e9, seed=4)
    gaps = np.diff([0.0, *times])
    assert stats.kstest(gaps, stats.expon(scale=1 / 50).cdf).pvalue > 0.01
    counts = np.histogram(times, bins=np.arange(0, int(times[-1])))[0]
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.2)
    assert times == poisson_times(50.0, 20_000, 1e9, seed=4)
    assert times != poisson_times(50.0, 20_000, 1e9, seed=5)
    short = poisson_times(50.0, 20_000, 2.0, seed=4)
    assert short == [t for t in times if t < 2.0]


def test_words_follow_from_two_measured_prompts() -> None:
    # Three tokens of template, two tokens a word.
    assert words_for(103, (4, 11), (24, 51)) == 50
    assert words_for(5, (4, 11), (24, 51)) == 1
    with pytest.raises(InputError, match="too short"):
        words_for(3, (4, 11), (24, 51))
    assert len(made_prompt(90, 1)[0]["content"].split()) == 90
    assert made_prompt(90, 1) == made_prompt(90, 1)
    assert made_prompt(90, 1)[0]["content"][:40] != made_prompt(90, 2)[0]["content"][:40]


def test_prompts_come_from_text_and_json(tmp_path: Path) -> None:
    rows = ["What is it?", "", json.dumps({"prompt": "And this?"}), json.dumps({"messages": [{"role": "user"}]})]
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows))
    assert read_prompts(tmp_path / "prompts.jsonl") == [
        [{"role": "user", "content": "What is it?"}], [{"role": "user", "content": "And this?"}], [{"role": "user"}],
    ]  # fmt: skip
    for text, sentence in (("", "holds no prompts"), ('{"a": 1}', "neither"), ('{"a', "is no JSON")):
        (tmp_path / "bad.jsonl").write_text(text)
        with pytest.raises(InputError, match=sentence):
            read_prompts(tmp_path / "bad.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(tmp_path / "absent")


@pytest.mark.parametrize(
    "given", [{}, {"rate": 1.0, "clients": 1}, {"rate": 0.0}, {"clients": 0}, {"rate": 1.0, "requests": 0},
              {"rate": 1.0, "seconds": 0.0}]
)  # fmt: skip
def test_a_load_that_cannot_be_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Load(**given)  # type: ignore[arg-type]


def test_the_plot_is_a_picture_even_of_nothing(tmp_path: Path) -> None:
    plot([answer(0.0, 0.1, 0.3, tokens=2), answer(0.1, error="429")], "model: clients 2", tmp_path / "a" / "plot.png")
    plot([], "nothing", tmp_path / "b.png")
    for path in (tmp_path / "a" / "plot.png", tmp_path / "b.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
