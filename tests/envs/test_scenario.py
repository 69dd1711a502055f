# SPDX-License-Identifier: BSD-2-Clause
"""Scenario files: what ships loads; what is wrong is refused in one line with file, key, value and what is accepted."""

import errno
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.bindings.errors import InputError
from ccdrl.envs.scenario import (
    FILE_BYTES_MAX,
    SCENARIO_FOLDER,
    Queue,
    Scenario,
    load_scenario,
    parse_scenario,
    shipped_scenarios,
)
from ccdrl.envs.scenario_schema import CONTROLLERS, SCHEMA, schema_markdown

GOOD = """
name = "good"
duration_s = 60
warmup_s = 10
mss = 1448
[[links]]
id = "one"
rate_mbps = 10
delay_ms = 20
queue = { kind = "droptail", bytes = 150000 }
loss = { kind = "bernoulli", p = 0.001 }
jitter_ms = 0
[[links]]
id = "two"
trace = "lte/bus"
delay_ms = 25
queue = { kind = "red", bdp = 1.5, min_bytes = 10000, max_bytes = 30000, max_p = 0.1 }
[[flows]]
id = "mp"
cc = "@"
paths = [["one"], ["two"]]
path_delay_ms = [0, 5]
start_s = 0
stop_s = 50
rwnd_bytes = 1000000
[[events]]
at_s = 30
link = "one"
down = true
"""

# what is replaced, by what, and the words that the message must hold: the key, the value, and what is accepted
# fmt: off
MALFORMED = [
    ("unknown key", "jitter_ms = 0", "jiter_ms = 0", ("links[0].jiter_ms", "0", "did you mean jitter_ms?")),
    ("unknown top key", "mss = 1448", "msss = 1448", ("msss = 1448", "did you mean mss?", "duration_s")),
    ("unknown queue key", "bytes = 150000", "byte = 150000", ("links[0].queue.byte", "150000", "did you mean bytes?")),
    ("string for number", "rate_mbps = 10", 'rate_mbps = "10"', ("links[0].rate_mbps", '"10"', "a number from 0.001")),
    ("bool for number", "delay_ms = 20", "delay_ms = true", ("links[0].delay_ms", "true", "0 to 10000 ms")),
    ("bool for integer", "mss = 1448", "mss = true", ("mss", "true", "an integer from 64 to 9000")),
    ("float for integer", "mss = 1448", "mss = 1448.5", ("mss", "1448.5", "an integer")),
    ("number for bool", "down = true", "down = 1", ("events[0].down", "1", "true or false")),
    ("number for string", 'id = "one"', "id = 1", ("links[0].id", "1", "a string")),
    ("empty id", 'id = "mp"', 'id = ""', ("flows[0].id", '""', "1 to 200")),
    ("control character", 'id = "mp"', 'id = "m\\np"', ("flows[0].id", "printable")),
    ("date for number", "at_s = 30", "at_s = 2020-01-01", ("events[0].at_s", "2020", "a number")),
    ("nan", "delay_ms = 20", "delay_ms = nan", ("links[0].delay_ms", "nan", "0 to 10000 ms")),
    ("inf", "duration_s = 60", "duration_s = inf", ("duration_s", "inf", "0.001 to 86400 s")),
    ("negative", "rate_mbps = 10", "rate_mbps = -10", ("links[0].rate_mbps", "-10", "0.001 to 100000 Mbit/s")),
    ("zero rate", "rate_mbps = 10", "rate_mbps = 0", ("links[0].rate_mbps", "0", "0.001")),
    ("absurd rate", "rate_mbps = 10", "rate_mbps = 1e9", ("links[0].rate_mbps", "1000000000.0", "100000")),
    ("huge integer", "rate_mbps = 10", "rate_mbps = 1" + "0" * 400, ("links[0].rate_mbps", "100000 Mbit/s")),
    ("beyond int conversion", "mss = 1448", "mss = 1" + "0" * 5000, ("not valid TOML",)),
    ("hexadecimal beyond int conversion", "mss = 1448", "mss = 0x1" + "0" * 5000, ("mss", "64 to 9000")),
    ("absurd jitter", "jitter_ms = 0", "jitter_ms = 99999", ("links[0].jitter_ms", "99999", "10000 ms")),
    ("loss above 1", "p = 0.001", "p = 1.5", ("links[0].loss.p", "1.5", "0 to 1")),
    ("loss without p", ", p = 0.001", "", ("links[0].loss.p", "missing", "0 to 1")),
    ("key of another loss", "p = 0.001", "p = 0.1, good_to_bad = 0.1",
     ("links[0].loss.good_to_bad", "0.1", "only with kind = gilbert-elliott")),
    ("unknown loss", '"bernoulli"', '"bernouli"', ("links[0].loss.kind", '"bernouli"', "did you mean bernoulli?")),
    ("unknown queue", '"droptail"', '"fifo"', ("links[0].queue.kind", '"fifo"', "droptail, red, codel, pie")),
    ("codel key on drop-tail", "bytes = 150000", "bytes = 150000, target_ms = 5",
     ("links[0].queue.target_ms", "5", "codel or pie")),
    ("two limits", "bytes = 150000", "bytes = 150000, packets = 9", ("links[0].queue.packets", "9", "bytes")),
    ("queue below a packet", "bytes = 150000", "bytes = 1000", ("links[0].queue.bytes", "1000", "1500 bytes")),
    ("RED upside down", "min_bytes = 10000", "min_bytes = 40000", ("links[1].queue.min_bytes", "40000", "30000")),
    ("RED half", "min_bytes = 10000, ", "", ("links[1].queue.max_bytes", "30000", "or neither")),
    ("number for table", 'queue = { kind = "droptail", bytes = 150000 }', "queue = 5",
     ("links[0].queue", "5", "a table (queue)")),
    ("duplicate link", 'id = "two"', 'id = "one"', ("links[1].id", '"one"', "duplicate")),
    ("no capacity", "rate_mbps = 10\n", "", ("links[0] (one)", "exactly one of rate_mbps, trace and generator")),
    ("two capacities", 'trace = "lte/bus"', 'trace = "lte/bus"\nrate_mbps = 5',
     ("links[1] (two)", "rate_mbps and trace")),
    ("no delay", "delay_ms = 20\n", "", ("links[0].delay_ms", "missing", "0 to 10000 ms")),
    ("no duration", "duration_s = 60\n", "", ("duration_s", "missing", "0.001 to 86400 s")),
    ("absolute trace", '"lte/bus"', '"/etc/passwd"', ("links[1].trace", '"/etc/passwd"', "--traces")),
    ("trace out of the folder", '"lte/bus"', '"lte/../../bus"', ("links[1].trace", "lte/../../bus", "without ..")),
    ("unknown link in path", '[["one"], ["two"]]', '[["one"], ["tow"]]',
     ("flows[0].paths[1][0]", '"tow"', "did you mean two?")),
    ("link twice in a path", '[["one"], ["two"]]', '[["one", "one"], ["two"]]',
     ("flows[0].paths[0][1]", '"one"', "once")),
    ("no path", '[["one"], ["two"]]', "[]", ("flows[0].paths", "[]", "1 to 8 lists")),
    ("empty path", '[["one"], ["two"]]', '[["one"], []]', ("flows[0].paths", "[]", "1 to 8 link ids")),
    ("nine paths", '[["one"], ["two"]]', "[" + '["one"],' * 9 + "]", ("flows[0].paths", "1 to 8 lists")),
    ("flat path", '[["one"], ["two"]]', '["one", "two"]', ("flows[0].paths", "'one'", "lists")),
    ("delays do not match paths", "[0, 5]", "[0, 5, 7]", ("flows[0].path_delay_ms", "[0.0, 5.0, 7.0]", "2 numbers")),
    ("negative path delay", "[0, 5]", "[0, -5]", ("flows[0].path_delay_ms[1]", "-5", "0 to 10000 ms")),
    ("unknown controller", 'cc = "@"', 'cc = "vegas"',
     ("flows[0].cc", '"vegas"', "did you mean wvegas?", "reno, cubic")),
    ("unknown scheduler", 'cc = "@"', 'cc = "@"\nscheduler = "rr"', ("flows[0].scheduler", '"rr"', "roundrobin")),
    ("count of none", 'cc = "@"', 'cc = "@"\ncount = 0', ("flows[0].count", "0", "1 to 10000")),
    ("start after the end", "start_s = 0", "start_s = 60", ("flows[0].start_s", "60", "duration_s = 60")),
    ("stop before start", "stop_s = 50", "stop_s = 0", ("flows[0].stop_s", "0", "start_s = 0")),
    ("window below mss", "rwnd_bytes = 1000000", "rwnd_bytes = 100", ("flows[0].rwnd_bytes", "100", "mss = 1448")),
    ("event after the end", "at_s = 30", "at_s = 61", ("events[0].at_s", "61", "duration_s = 60")),
    ("event on an unknown link", 'link = "one"', 'link = "wan"', ("events[0].link", '"wan"', "one, two")),
    ("event without effect", "down = true", "", ("events[0].at_s", "changes nothing", "rate_mbps")),
    ("rate event on a trace", 'link = "one"\ndown = true', 'link = "two"\nrate_mbps = 5',
     ("events[0].rate_mbps", "5", "two")),
    ("warm-up as long as the run", "warmup_s = 10", "warmup_s = 60", ("warmup_s", "60", "duration_s = 60")),
    ("invalid TOML", "mss = 1448", "mss = = 1448", ("not valid TOML", "line 5", "accepted")),
    ("key twice", "mss = 1448", "mss = 1448\nmss = 1448", ("not valid TOML", "accepted")),
    ("links is a table", "[[links]]", "[links]", ("not valid TOML", "accepted")),
]
# fmt: on


@pytest.mark.parametrize(("old", "new", "words"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_malformed_file_gives_one_line(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    assert old in GOOD
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 600
    assert message.startswith(f"{path}: ")
    for word in (*words, *(() if "accepted" in words else ("accepted",))):
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("duration_s is missing",)),
        ("duration_s = 1\nlinks = []\nflows = []", ("links = []", "one or more [[links]] tables")),
        ("duration_s = 1\nlinks = 5\nflows = []", ("links = 5", "one or more [[links]] tables")),
        ("duration_s = 1\nlinks = [5]\nflows = []", ("links[0] = 5", "a table (links)")),
        ("duration_s = 1\n[links]\nid = 'a'\n", ("links = {'id': 'a'}", "one or more [[links]] tables")),
        ("duration_s = 1\n[[links]]\nid = 'a'\nrate_mbps = 1\ndelay_ms = 1\n", ("flows is missing", "[[flows]]")),
        ("a = " + "[" * 100000, ("nested too deeply",)),
    ],
)
def test_malformed_shape(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        parse_scenario(text, "x.toml")
    assert str(caught.value).startswith("x.toml: ") and str(caught.value).isprintable()
    for word in words:
        assert word in str(caught.value)


def test_too_many_flows() -> None:
    more = '[[flows]]\nid = "x"\ncc = "lia"\npaths = [["one"]]\ncount = 2\n'
    text = GOOD.replace('cc = "@"', 'cc = "@"\ncount = 9999') + more
    with pytest.raises(InputError, match=r"flows\[1\]\.count = 2: accepted: at most 10000 flows"):
        parse_scenario(text, "x.toml")


def test_counted_and_plain_ids_do_not_clash() -> None:
    text = GOOD.replace('cc = "@"', 'cc = "@"\ncount = 2') + '[[flows]]\nid = "mp/1"\ncc = "lia"\npaths = [["one"]]\n'
    with pytest.raises(InputError, match=r'flows\[1\]\.id = "mp/1": duplicate'):
        parse_scenario(text, "x.toml")


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    (tmp_path / "large.toml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    for name, words in (
        ("latin.toml", "not UTF-8"),
        ("large.toml", f"at most {FILE_BYTES_MAX} bytes"),
        ("folder.toml", "not a regular file"),
        ("pipe.toml", "not a regular file"),
        ("absent.toml", "No such file"),
        ("n\0ul.toml", "null"),
        ("new\nline.toml", "No such file"),
        ("x" * 5000 + ".toml", "too long"),
    ):
        with pytest.raises(InputError) as caught:
            load_scenario(tmp_path / name)
        assert words in str(caught.value) and str(caught.value).isprintable() and "accepted" in str(caught.value)


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.toml"
    path.write_text(GOOD)

    def refuse(_path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    # root reads files without permission too, so the refusal is made here
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        load_scenario(path)


def test_good_file_and_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('name = "good"\n', ""))
    scenario = load_scenario(str(path))
    assert scenario.name == "mine" and scenario.source == str(path) and scenario.needs_traces
    flow, link = scenario.flows[0], scenario.links[0]
    assert (flow.paths, flow.path_delay_ms, flow.scheduler, flow.count) == (
        (("one",), ("two",)),
        (0.0, 5.0),
        "minrtt",
        1,
    )
    assert (link.rate_mbps, link.delay_ms, link.queue.bytes, link.queue.bdp) == (10.0, 20.0, 150000, None)
    assert link.loss is not None and link.loss.p == 0.001
    links = '[[links]]\nid = "a"\nrate_mbps = 1\ndelay_ms = 1\n'
    bare = parse_scenario(f'duration_s = 1\n{links}[[flows]]\nid = "f"\ncc = "drl"\npaths = [["a"]]', "bare.toml")
    assert bare.links[0].queue == Queue(bdp=1.0) and bare.warmup_s == 0 and bare.mss == 1448 and bare.events == ()


def test_every_controller_is_accepted() -> None:
    for cc in CONTROLLERS:
        assert parse_scenario(GOOD.replace('"@"', f'"{cc}"'), "x.toml").flows[0].cc == cc


def test_unknown_name_has_a_hint() -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("idle-pear")
    assert str(caught.value).startswith("idle-pear: no such scenario; did you mean idle-pair?")


SHIPPED = sorted(SCENARIO_FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenario(path: Path) -> None:
    scenario = load_scenario(path.stem)
    assert scenario.name == path.stem and 10 < len(scenario.summary) <= 120
    assert path.read_text().startswith("# SPDX-License-Identifier: BSD-2-Clause\n")
    assert any(flow.cc == "@" for flow in scenario.flows)
    assert scenario.duration_s <= 240
    # nothing is described that no flow uses
    used = {link for flow in scenario.flows for path in flow.paths for link in path}
    assert used == {link.id for link in scenario.links}


def test_shipped_set_covers_the_reference_list() -> None:
    names = [scenario.name for scenario in shipped_scenarios()]
    assert names == sorted(names) and len(names) == len(SHIPPED)
    # one prefix for each item of the list of expectations, 1 to 14
    for prefix in (
        "idle-pair",
        "shared-bottleneck-",
        "khalili-a-n10",
        "khalili-a-n20",
        "khalili-a-n30",
        "khalili-b",
        "khalili-c-n10",
        "khalili-c-n20",
        "khalili-c-n30",
        "busy-path",
        "max-min",
        "start-order-",
        "responsiveness",
        "wifi-3g",
        "random-loss-",
        "buffer-",
        "calibrated-",
        "calibrated-policer-",
        "kernel-selftest-",
        "failover",
        "lte-wifi",
        "lte-wifi-cubic",
    ):
        assert any(name.startswith(prefix) for name in names), prefix
    assert not load_scenario("lte-wifi-generated").needs_traces


def test_documentation_is_the_schema() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()
    assert schema_markdown() in text
    for block in text.split("```toml\n")[1:]:
        example = block.split("```")[0]
        assert isinstance(parse_scenario(example, "docs/scenarios.md"), Scenario)


# --- random input: nothing but a Scenario or an InputError of one line ---

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(["one", "two", "@"]),
)
ALL_KEYS = sorted({key.name for keys in SCHEMA.values() for key in keys})
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(ALL_KEYS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=8,
)


def to_toml(value: object) -> str:
    """Return a value in TOML; None, which TOML has not, becomes a word that does not parse."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08X}" for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{to_toml(key)} = {to_toml(item)}" for key, item in value.items()) + " }"
    return str(value)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([key.name for key in SCHEMA["scenario"]]), VALUES, max_size=6))
def test_random_structure(raw: dict[str, object]) -> None:
    check_random("".join(f"{key} = {to_toml(value)}\n" for key, value in raw.items()))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_change_of_a_good_file(data: st.DataObject) -> None:
    raw = tomllib.loads(GOOD)
    tables = [raw, *raw["links"], *raw["flows"], *raw["events"], raw["links"][0]["queue"], raw["links"][0]["loss"]]
    for _ in range(data.draw(st.integers(1, 3))):
        table = data.draw(st.sampled_from(tables))
        table[data.draw(st.sampled_from(sorted(table)) | st.sampled_from(ALL_KEYS))] = data.draw(VALUES)
    check_random("".join(f"{key} = {to_toml(value)}\n" for key, value in raw.items()))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_random_text(text: str) -> None:
    check_random(text)


def check_random(text: str) -> None:
    try:
        scenario = parse_scenario(text, "random.toml")
    except InputError as error:
        assert str(error).startswith("random.toml: ") and str(error).isprintable()
    else:
        assert scenario.links and scenario.flows and 0 <= scenario.warmup_s < scenario.duration_s
