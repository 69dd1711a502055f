# SPDX-License-Identifier: BSD-2-Clause
import dataclasses
import tomllib

import pytest

from ccdrl.agent.config import SHIPPED, TrainingConfig, describe_config, find_hidden_columns, load_config
from ccdrl.agent.settings import list_entries, to_toml
from ccdrl.bindings.errors import InputError
from ccdrl.envs.observation_layout import HISTORY_COLUMNS, OBSERVATION_NAMES


def refuse(match, *arguments, **keywords):
    with pytest.raises(InputError, match=match) as caught:
        load_config(*arguments, **keywords)
    assert "\n" not in str(caught.value)


def test_defaults_file_set_and_options_in_this_order(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("gamma = 0.5\nepochs = 7\nseed = 3\n[env]\nrival_probability = 0.25\n")
    config = load_config(str(file), ["epochs=8", "env.rtt_ms=[5, 50]"], {"seed": 4, "total_steps": None})
    assert (config.gamma, config.epochs, config.seed) == (0.5, 8, 4)
    assert config.total_steps == TrainingConfig().total_steps
    assert (config.env.rival_probability, config.env.rtt_ms) == (0.25, (5.0, 50.0))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configurations_are_valid(name):
    assert load_config(name) == load_config(name)


def test_saved_text_gives_the_same_configuration(tmp_path):
    config = load_config("demo", ["actor_layers=[3, 5]", 'validation_scenarios=["a \\"b\\""]', "log_std=-1e-3"])
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config))
    again = load_config(str(file))
    assert again == config
    assert again.sha256() == config.sha256()
    assert load_config("demo").sha256() != config.sha256()


def test_every_setting_has_help_and_a_default_that_it_accepts():
    text = describe_config()
    for entry in list_entries(TrainingConfig):
        assert f"  {entry.key} = " in text
        if not entry.key.startswith(("env.", "reward.")):
            assert entry.text, entry.key
        assert tomllib.loads(to_toml(TrainingConfig()))
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingConfig().seed = 2


@pytest.mark.parametrize(
    ("assignment", "match"),
    [
        ("learnin_rate=1", "unknown key 'learnin_rate'; the nearest one is 'learning_rate'"),
        ("env.rival_probabilty=1", "nearest one is 'env.rival_probability'"),
        ("xyzzy=1", "unknown key 'xyzzy'; the nearest one is"),
        ("env=1", "unknown key 'env'"),
        ("epochs=1.5", "epochs: an integer expected, not 1.5"),
        ("epochs=true", "epochs: an integer expected, not True"),
        ("epochs=0", "epochs: 0 is out of range; 1 to 100 accepted"),
        ("gamma=1.01", "gamma: 1.01 is out of range; 0 to 1 accepted"),
        ("gamma=nan", "a finite number expected"),
        ("gamma=inf", "a finite number expected"),
        ("gamma=high", "gamma: a finite number expected, not 'high'"),
        ("has_normaliser=1", "true or false expected"),
        ("actor_layers=64", "a list expected"),
        ("actor_layers=[]", "1 to 8 sizes"),
        ("actor_layers=[64, 0]", "out of range"),
        ('actor_layers=[64, "x"]', "an integer expected"),
        ('hidden_columns=["rtt_ratio", "rtt_ratoi"]', "no column of the observation is called rtt_ratoi"),
        ("learning_rate_end=0.5", "must not exceed learning_rate"),
        ("env.rtt_ms=[5]", "a list of 2 expected"),
        ("env.rtt_ms=[50, 5]", "lower end first"),
        ("env.rtt_ms=[-5, 5]", "not negative"),
        ("env.rival_probability=1.5", "a probability from 0 to 1"),
        ("env.slot_rows=[9]", "numbers from 1 to 8"),
        ("env.slot_rows=[]", "numbers from 1 to 8"),
        ("epochs", "key=value expected"),
        ("=3", "key=value expected"),
        ("total_steps=" + "9" * 30, "out of range"),
    ],
)
def test_bad_assignments(assignment, match):
    refuse(match, None, [assignment])


def test_bad_files(tmp_path):
    refuse("no such configuration; a TOML file or one of default, demo", str(tmp_path / "none.toml"))
    refuse("cannot be read", str(tmp_path))
    file = tmp_path / "bad.toml"
    for content, match in (
        (b"gamma = ", "not valid TOML"),
        (b"\xff", "not valid TOML"),
        (b"gamma = 2.0", "gamma: 2.0 is out of range"),
        (b"[gamma]\nx = 1", "unknown key 'gamma.x'"),
        (b"#" * (2 << 20), "larger than"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=match) as caught:
            load_config(str(file))
        assert str(caught.value).startswith(str(file))


def test_set_and_options_are_blamed_and_not_the_file(tmp_path):
    file = tmp_path / "good.toml"
    file.write_text("gamma = 0.5")
    refuse("^--set: gamma", str(file), ["gamma=7"])
    refuse("^configuration: simulators", str(file), [], {"simulators": 0})


def test_hidden_columns_are_found_by_name_and_pattern():
    found = [OBSERVATION_NAMES[index] for index in find_hidden_columns(["*_[123]", "srtt_ratio"])]
    assert found[0] == "srtt_ratio"
    assert set(found[1:]) == {f"{name}_{age}" for name in HISTORY_COLUMNS for age in (1, 2, 3)}
