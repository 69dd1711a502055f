# SPDX-License-Identifier: BSD-2-Clause
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccdrl.models import artifact as module
from ccdrl.models import storage
from ccdrl.models.artifact import Artifact, load_artifact, save_artifact, weight_shapes
from ccdrl.models.fields import ArtifactError
from ccdrl.models.normaliser import Normaliser

SIZE = 5
NAMES = tuple(f"column_{i}" for i in range(SIZE))


def make_artifact(**changes):
    generator = np.random.default_rng(1)
    shapes = weight_shapes(SIZE, (4, 3))
    weights = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    normaliser = Normaliser(generator.normal(size=SIZE), generator.uniform(0.1, 3, SIZE), 1000, 10.0)
    values = {
        "observation_names": NAMES,
        "observation_version": "1-abc",
        "history": 3,
        "action_version": "1-x",
        "abi_version": 2,
        "layers": (4, 3),
        "weights": weights,
        "normaliser": normaliser,
        "training": {"seed": 7, "config": {"gamma": 0.99}},
        "provenance": {"code_version": "0.1.0"},
        "results": {"score": 0.5},
    }
    return Artifact(**(values | changes))


@pytest.fixture
def folder(tmp_path):
    return save_artifact(make_artifact(), tmp_path / "policy")


def edit(folder, change):
    document = json.loads((folder / "policy.json").read_text())
    change(document)
    (folder / "policy.json").write_text(json.dumps(document))


def refuse(path, match, **expectations):
    with pytest.raises(ArtifactError, match=match) as caught:
        load_artifact(path, **expectations)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("name", ["policy", "policy.safetensors"])
def test_round_trip(tmp_path, name):
    artifact = make_artifact()
    path = save_artifact(artifact, tmp_path / "deep" / name)
    loaded = load_artifact(path, observation_names=NAMES, observation_version="1-abc", abi_version=2)
    assert loaded.checksum == artifact.checksum
    for field in dataclasses.fields(Artifact):
        if field.name not in ("weights", "normaliser"):
            assert getattr(loaded, field.name) == getattr(artifact, field.name)
    for key, array in artifact.weights.items():
        assert loaded.weights[key].tobytes() == array.tobytes()
    assert loaded.normaliser.mean.tobytes() == artifact.normaliser.mean.tobytes()
    assert loaded.normaliser.variance.tobytes() == artifact.normaliser.variance.tobytes()
    assert sorted(os.listdir(path.parent)) == [name]


def test_both_forms_have_equal_content(tmp_path, folder):
    one = save_artifact(load_artifact(folder), tmp_path / "one.safetensors")
    assert load_artifact(one).checksum == load_artifact(folder).checksum
    # The file is ordinary safetensors.
    assert set(safetensors.numpy.load_file(one)) == set(make_artifact().weights)


def test_saving_replaces_and_equal_artifacts_are_equal_bytes(tmp_path, folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    save_artifact(make_artifact(results={"score": 1.0}), folder)
    assert load_artifact(folder).results == {"score": 1.0}
    save_artifact(make_artifact(), folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert os.listdir(tmp_path) == ["policy"]


def test_saving_refuses_to_replace_something_else(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(ArtifactError, match="is no artifact"):
        save_artifact(make_artifact(), tmp_path / "thesis")
    (tmp_path / "note").write_text("x")
    with pytest.raises(ArtifactError, match="is no artifact"):
        save_artifact(make_artifact(), tmp_path / "note")


def test_a_failing_write_leaves_the_old_artifact(folder, monkeypatch):
    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(storage, "replace_folder", fail)
    with pytest.raises(OSError, match="disk full"):
        save_artifact(make_artifact(results={"score": 9}), folder)
    assert load_artifact(folder).results == {"score": 0.5}
    assert os.listdir(folder.parent) == ["policy"]


def test_expectations(folder):
    refuse(folder, "abi_version: 2, this program speaks 3", abi_version=3)
    refuse(folder, "observation.version: 1-abc, this program computes 2-abc", observation_version="2-abc")
    refuse(folder, "action.version: 1-x, this program maps 2-x", action_version="2-x")
    refuse(folder, "'column_0' for 'x'", observation_names=("x", *NAMES[1:]))
    refuse(folder, "their number", observation_names=NAMES[:-1])


def test_results_may_be_added_by_hand_but_nothing_that_decides(folder):
    edit(folder, lambda d: d["results"].update(note="measured later"))
    assert load_artifact(folder).results["note"] == "measured later"
    edit(folder, lambda d: d["normaliser"].update(limit=5.0))
    refuse(folder, "checksum: differs")


def set_in(*keys, value):
    def change(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_in("schema", value="ccdrl-policy/9"), "schema: 'ccdrl-policy/1' expected"),
        (lambda d: d.pop("schema"), "schema: a string expected, found nothing"),
        (set_in("abi_version", value="2"), "abi_version: an integer expected"),
        (set_in("abi_version", value=True), "abi_version: an integer expected"),
        (set_in("observation", "names", value=NAMES[:-1]), "normaliser.mean: 4 finite numbers"),
        (set_in("observation", "names", value=[*NAMES[:-1], NAMES[0]]), "different names"),
        (set_in("observation", "names", value=[]), "different names"),
        (set_in("observation", value=[]), "observation: an object expected"),
        (set_in("action", "low", value=2.0), "low < high"),
        (set_in("action", "version", value=1), "action.version: a string expected"),
        (set_in("network", "layers", value=[4, 4]), "weight actor.1"),
        (set_in("network", "layers", value=[4]), "weight actor.2.bias: not part of the network"),
        (set_in("network", "layers", value=[4, 3, 3]), "missing"),
        (set_in("network", "layers", value=[10**9]), "sizes from 1 to"),
        (set_in("network", "layers", value=[4.0, 3.0]), "a list of integers"),
        (set_in("network", "activation", value="relu"), "'tanh'"),
        (set_in("normaliser", "mean", value=["a"] * SIZE), "numbers expected"),
        (set_in("normaliser", "variance", value=[-1.0] * SIZE), "must not be negative"),
        (set_in("normaliser", "limit", value=0), "must be positive"),
        (set_in("normaliser", "mean", value=[10**400] * SIZE), "finite"),
        (set_in("weights", "file", value="../../etc/passwd"), "weights.file"),
        (set_in("weights", "sha256", value="0" * 64), "checksum differs"),
        (lambda d: d.pop("checksum"), "checksum: a string expected"),
        (set_in("training", value=None), "training: an object expected"),
    ],
)
def test_wrong_documents(folder, change, match):
    edit(folder, change)
    refuse(folder, match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not valid JSON"),
        ("[1]", "a JSON object expected"),
        ('{"schema": 1, "schema": 2}', "repeated key"),
        ('{"x": NaN}', "NaN is no JSON number"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        ('{"x": ' + "9" * 10_000 + "}", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_wrong_json(folder, text, match):
    (folder / "policy.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    refuse(folder, match)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value):
    weights = dict(make_artifact().weights)
    weights["actor.1.weight"] = weights["actor.1.weight"].copy()
    weights["actor.1.weight"][0, 0] = value
    with pytest.raises(ArtifactError, match=r"actor\.1\.weight: not finite"):
        make_artifact(weights=weights)


def test_other_dtype_and_shape():
    weights = dict(make_artifact().weights)
    with pytest.raises(ArtifactError, match="float32 \\(1,\\) expected, found float64"):
        make_artifact(weights=weights | {"log_std": np.zeros(1)})
    with pytest.raises(ArtifactError, match="actor.0.weight: float32 \\(4, 5\\) expected"):
        make_artifact(weights=weights | {"actor.0.weight": weights["actor.0.weight"].T.copy()})


def test_missing_linked_and_special_files(tmp_path, folder):
    refuse(tmp_path / "nothing", "not found")
    refuse(tmp_path, "policy.json: not found")
    real = folder / "real.safetensors"
    (folder / "policy.safetensors").rename(real)
    (folder / "policy.safetensors").symlink_to(real)
    refuse(folder, "symbolic link")
    (folder / "policy.safetensors").unlink()
    os.mkfifo(folder / "policy.safetensors")
    refuse(folder, "not a regular file")
    # A link to the folder is the user's own choice of a name.
    shutil.rmtree(folder)
    save_artifact(make_artifact(), folder)
    (tmp_path / "latest").symlink_to(folder)
    assert load_artifact(tmp_path / "latest").results == {"score": 0.5}


def test_oversized_files_are_not_read(folder):
    for name, limit in (("policy.safetensors", module.WEIGHTS_MAX_BYTES), ("policy.json", module.JSON_MAX_BYTES)):
        os.truncate(folder / name, limit + 1)
        refuse(folder, f"{name}: larger than")


def test_swapped_weights(tmp_path, folder):
    weights = {name: array + 1 for name, array in make_artifact().weights.items()}
    other = save_artifact(make_artifact(weights=weights), tmp_path / "other")
    shutil.copy(other / "policy.safetensors", folder / "policy.safetensors")
    refuse(folder, "damaged or swapped")


def test_plain_safetensors_is_not_a_policy(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"x": np.zeros(3, np.float32)}, path)
    refuse(path, "weights without their description")
    path.write_bytes(b"hello")
    refuse(path, "not a safetensors file")
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    refuse(path, "not a safetensors file")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_refused_or_harmless(tmp_path, data):
    """Any cut or flipped byte: ArtifactError, or (in the informative part) the same policy."""
    path = save_artifact(make_artifact(), tmp_path / "fuzz.safetensors")
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[position] ^= data.draw(st.integers(1, 255))
    else:
        del content[position:]
    path.write_bytes(content)
    try:
        loaded = load_artifact(path)
    except ArtifactError as error:
        assert "\n" not in str(error)
    else:
        assert loaded.checksum == make_artifact().checksum


def test_loading_needs_no_torch(folder):
    code = (
        "import sys; from ccdrl.models.artifact import load_artifact; load_artifact(sys.argv[1]);"
        "sys.exit(any(name.partition('.')[0] in ('torch', 'stable_baselines3', 'pickle5') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 0
