"""Settings: who overrules whom, and one sentence for each mistake."""

from pathlib import Path

import pytest

from chatwright.errors import ConfigError
from chatwright.presets import PRESETS
from chatwright.settings import load_settings


def test_flag_beats_environment_beats_file_beats_preset(tmp_path: Path) -> None:
    toml = tmp_path / "settings.toml"
    toml.write_text("seed = 2\n[model]\nwidth = 48\nheads = 3\nlayers = 3\n")
    environment = {"CHATWRIGHT_MODEL__WIDTH": "64", "CHATWRIGHT_MODEL__HEADS": "8", "UNRELATED__X": "1"}
    settings = load_settings("tiny", toml=toml, environment=environment, overrides=["model.width=96"])
    model = settings.model
    assert (model.width, model.heads, model.layers, model.mlp_width) == (96, 8, 3, 64)
    assert settings.seed == 2
    assert settings.text.min_words == 8


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_named(preset: str) -> None:
    assert load_settings(preset, environment={}).preset == preset


def test_values_are_toml_or_bare_words() -> None:
    settings = load_settings(
        environment={},
        overrides=["text.quality=false", "text.normalise=NFKC", 'serve.host="::1"', "pretrain.optim.muon_lr=1e-3"],
    )
    assert settings.text.quality is False
    assert settings.text.normalise == "NFKC"
    assert settings.serve.host == "::1"
    assert settings.pretrain.optim.muon_lr == 0.001


@pytest.mark.parametrize("preset", ["starter", "laptop"])
def test_one_changed_setting_leaves_its_neighbours(preset: str) -> None:
    before = load_settings(preset, environment={}).ppo
    after = load_settings(preset, environment={}, overrides=["ppo.optim.clip=0.5"]).ppo
    assert after == before.model_copy(update={"optim": before.optim.model_copy(update={"clip": 0.5})})
    assert before.optim.warmup == 0.1


def test_loading_leaves_the_presets_alone() -> None:
    load_settings("tiny", environment={}, overrides=["model.layers=9"])
    assert load_settings("tiny", environment={}).model.layers == 2


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["text.min_wrods=3"], "text.min_wrods"),
        (["nothing.here=3"], "nothing"),
        (["seed.deeper=3"], "seed"),
        (["text.min_words=-1"], "text.min_words"),
        (["text.near_threshold=1.5"], "text.near_threshold"),
        (["text.normalise=NFX"], "text.normalise"),
        (["model.layers=many"], "model.layers"),
        (["model.layers"], "model.layers"),
        (["text=3"], "text"),
        (["text=3", "text.quality=true"], "text.quality"),
    ],
)
def test_wrong_setting_is_named_in_one_sentence(overrides: list[str], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environment={}, overrides=overrides)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_setting_in_the_environment_is_named() -> None:
    with pytest.raises(ConfigError, match=r"text\.min_wrods"):
        load_settings(environment={"CHATWRIGHT_TEXT__MIN_WRODS": "3"})


def test_unknown_preset_lists_the_presets() -> None:
    with pytest.raises(ConfigError, match=r"'desktop'.*starter, tiny, laptop, gpu, cluster"):
        load_settings("desktop", environment={})


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b"[text\n"])
def test_broken_settings_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml cannot be read") as caught:
        load_settings(toml=tmp_path / "bad.toml", environment={})
    assert "\n" not in str(caught.value)


def test_missing_settings_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_settings(toml=tmp_path / "none.toml", environment={})


def test_preset_in_a_settings_file_is_refused_or_applied(tmp_path: Path) -> None:
    """It must not pass for a preset whose values are not in force."""
    (tmp_path / "a.toml").write_text('preset = "tiny"\n')
    try:
        settings = load_settings(toml=tmp_path / "a.toml", environment={})
    except ConfigError:
        return
    assert settings.model.layers == 2


def test_section_in_place_of_a_value_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[preset]\na = 1\n")
    with pytest.raises(ConfigError):
        load_settings(toml=tmp_path / "a.toml", environment={})


@pytest.mark.parametrize("content", ["text = 3\n", "model = [1]\n", "[[text]]\nquality = true\n", "[seed]\na = 1\n"])
def test_section_of_the_wrong_kind_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(toml=tmp_path / "a.toml", environment={})
    assert "\n" not in str(caught.value)


def test_preset_may_be_repeated_but_not_changed(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('preset = "tiny"\n')
    assert load_settings("tiny", toml=tmp_path / "a.toml", environment={}).preset == "tiny"
    with pytest.raises(ConfigError, match="--preset"):
        load_settings("tiny", environment={}, overrides=["preset=laptop"])


@pytest.mark.parametrize(("overrides", "sentence"), [
    (["dpo.margin=0.5"], "dpo.margin belongs to simpo"),
    (["dpo.loss=ipo", "dpo.label_smoothing=0.1"], "ipo knows no dpo.label_smoothing"),
    (["dpo.loss=orpo", "dpo.label_smoothing=0.1"], "orpo knows no dpo.label_smoothing"),
    (["ppo.kl_target=4", "ppo.kl_coef=0"], "ppo.kl_coef, which must not be 0"),
])  # fmt: skip
def test_settings_that_contradict_each_other_are_refused_before_anything_runs(
    overrides: list[str], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_settings("tiny", environment={}, overrides=overrides)
    assert "\n" not in str(caught.value)


def test_ppo_has_no_batch_tokens() -> None:
    """Its steps hold rollouts / minibatches answers; a setting that nothing reads is refused."""
    with pytest.raises(ConfigError, match="batch_tokens"):
        load_settings("tiny", environment={}, overrides=["ppo.batch_tokens=99"])
