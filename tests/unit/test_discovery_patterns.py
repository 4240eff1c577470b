"""`file_pattern`: what it matches, held against a slow matcher that reads the rules literally."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autoloader_sdk.discovery.patterns import MAX_ALTERNATIVES, compile_pattern


def matches(pattern: str, path: str) -> bool:
    return bool(compile_pattern(pattern).matches(path))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.csv", ["a.csv", "x/y/a.csv", ".csv", "x/.csv"], ["a.csv.gz", "a.csv/b", "acsv"]),
        ("part-?.json", ["part-1.json", "d/part-x.json"], ["part-12.json", "part-.json"]),
        ("x/*.csv", ["x/a.csv"], ["a.csv", "x/y/a.csv", "y/x/a.csv"]),
        ("/x/*.csv", ["x/a.csv"], ["y/x/a.csv"]),
        ("**/*.csv", ["a.csv", "x/a.csv", "x/y/a.csv"], ["a.json"]),
        ("x/**/a.csv", ["x/a.csv", "x/y/a.csv", "x/y/z/a.csv"], ["a.csv", "xx/a.csv", "x/ya.csv"]),
        ("x/**", ["x/a", "x/y/a"], ["x", "xy/a"]),
        ("x/**.csv", ["x/a.csv", "x/y/a.csv", "x/.csv"], ["xy/a.csv", "x/a.csv/b"]),
        ("x/a**b**c", ["x/abc", "x/a/b/c", "x/a1/2b3/4c", "x/a/q/b/r/c"], ["x/ab", "y/abc"]),
        ("**.csv", ["a.csv", "x/a.csv"], ["a.json"]),
        ("*.{csv,csv.gz}", ["a.csv", "x/a.csv.gz"], ["a.gz"]),
        ("{a,b/c}/*", ["a/1", "b/c/1"], ["b/1", "x/a/1"]),
        ("{a,{b,c}d}", ["a", "bd", "x/cd"], ["b", "ad"]),
        ("a{,b}", ["a", "ab"], ["b"]),
        ("[ab]1", ["a1", "b1"], ["c1", "/1"]),
        ("[!ab]1", ["c1", "x/]1"], ["a1", "1"]),
        ("[^ab]1", ["c1"], ["a1"]),
        ("[]x]", ["]", "x"], ["y"]),
        ("[a-c-]", ["b", "-"], ["d"]),
        ("d/[!x]y", ["d/ay"], ["d//y", "d/xy"]),
        ("[+-9]", ["+", "5"], ["/", "a"]),
        (r"\*\[1\]\{a\}\?\\", ["*[1]{a}?\\"], ["x[1]{a}?\\"]),
        ("a,b}", ["a,b}"], ["a"]),
        ("ü #%20*", ["ü #%20x", "d/ü #%20"], ["u #%20"]),
        ("*", ["a", "_x", ".x", "x/y", "a\nb"], []),
        ("dt=2026-11-*/part-*.json", ["dt=2026-11-01/part-0.json"], ["dt=2026-12-01/part-0.json"]),
    ],
)
def test_a_pattern_matches_what_the_contract_says(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not matches(pattern, path)] == []
    assert [path for path in no if matches(pattern, path)] == []


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "it is empty"),
        ("a[b", "'[' is not closed"),
        ("[]", "'[' is not closed"),
        ("[a-", "'[' is not closed"),
        ("{a,b", "'{' is not closed"),
        ("a\\", "ends with a backslash"),
        ("[z-a]", "range [z-a] is empty"),
        ("[a/b]", "'/' can not stand in [ ]"),
        ("x/", "names a folder"),
        ("/", "alternative of it is empty"),
        ("x//y", "'//' matches nothing"),
        ("../x", "'.' and '..'"),
        ("{,a}", "alternative of it is empty"),
        ("{a,b}" * 11, f"more than {MAX_ALTERNATIVES} alternatives"),
        ("x/" + "a**" * 11, f"more than {MAX_ALTERNATIVES} alternatives"),
    ],
)
def test_an_invalid_pattern_is_refused_with_a_sentence(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        compile_pattern(pattern)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("dt=2026-11-*/part-*.json", "dt=2026-11-"),
        ("a/b/c.csv", "a/b/c.csv"),
        ("a/{b1,b2}/*", "a/b"),
        (r"a\*/*", "a*/"),
        ("a/**/b", "a/"),
        ("**/b", ""),
        ("b.csv", ""),
        ("x/a**b", "x/a"),
    ],
)
def test_the_literal_prefix_is_the_longest(pattern: str, prefix: str) -> None:
    assert compile_pattern(pattern).literal_prefix == prefix


# The rules again, character by character, with no cleverness: first the braces are written out, then every
# way to match is tried.


def _expand(pattern: str) -> list[str]:
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 2
        elif pattern[at] == "[":
            at = _class_end(pattern, at)
        elif pattern[at] == "{":
            depth, start, options, here = 1, at + 1, [], at + 1
            while depth:
                if pattern[here] == "\\":
                    here += 2
                    continue
                if pattern[here] == "[":
                    here = _class_end(pattern, here)
                    continue
                depth += {"{": 1, "}": -1}.get(pattern[here], 0)
                if (pattern[here] == "," and depth == 1) or depth == 0:
                    options.append(pattern[start:here])
                    start = here + 1
                here += 1
            return [
                # NUL keeps `{*}*` from becoming `**`.
                f"{pattern[:at]}\0{inner}\0{rest}"
                for option in options
                for inner in _expand(option)
                for rest in _expand(pattern[here:])
            ]
        else:
            at += 1
    return [pattern]


def _class_end(pattern: str, at: int) -> int:
    at += 2 if pattern[at + 1] in "!^" else 1
    at += 2 if pattern[at] == "\\" else 1
    while pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1


def _slow(p: str, s: str, *, segment_start: bool = True) -> bool:
    p = p.lstrip("\0")
    if not p:
        return not s
    if p.startswith("**"):
        rest = p.lstrip("*").lstrip("\0")
        if segment_start and rest.startswith("/"):
            tails = [s] + [s[i + 1 :] for i in range(len(s)) if s[i] == "/"]
            return any(_slow(rest[1:], tail) for tail in tails)
        return any(_slow(rest, s[i:], segment_start=False) for i in range(len(s) + 1))
    if p[0] == "*":
        ends = [i for i in range(len(s) + 1) if "/" not in s[:i]]
        return any(_slow(p[1:], s[i:], segment_start=False) for i in ends)
    if not s:
        return False
    if p[0] == "[":
        end = _class_end(p, 0)
        inside = p[1 : end - 1]
        negated = inside[0] in "!^"
        return (s[0] in inside[negated:]) != negated and s[0] != "/" and _slow(p[end:], s[1:], segment_start=False)
    if p[0] == "?":
        return s[0] != "/" and _slow(p[1:], s[1:], segment_start=False)
    if p[0] == "\\":
        p = p[1:]
    return p[0] == s[0] and _slow(p[1:], s[1:], segment_start=p[0] == "/")


def _reference(pattern: str, path: str) -> bool:
    expanded = _expand(pattern)
    if not any("/" in one for one in expanded):
        path = path.rpartition("/")[2]
    return any(_slow(one.lstrip("\0").removeprefix("/"), path) for one in expanded)


_ATOMS = ["a", "b", ".", "/", "/", "*", "*", "**", "**/", "/**", "?", "[ab]", "[!a]", r"\*", "=", "\n"]
_PATTERNS = st.recursive(
    st.lists(st.sampled_from(_ATOMS), max_size=7).map("".join),
    lambda inner: st.tuples(inner, st.lists(inner, min_size=1, max_size=3), inner).map(
        lambda parts: parts[0] + "{" + ",".join(parts[1]) + "}" + parts[2]
    ),
    max_leaves=5,
)
_PATHS = st.lists(st.text("ab.*=\n", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)


@settings(max_examples=500, deadline=None)
@given(pattern=_PATTERNS, paths=st.lists(_PATHS, min_size=1, max_size=8))
def test_the_compiled_matcher_agrees_with_the_slow_one(pattern: str, paths: list[str]) -> None:
    try:
        compiled = compile_pattern(pattern)
    except ValueError:
        assume(False)
    for path in paths:
        expected = _reference(pattern, path)
        assert bool(compiled.matches(path)) == expected, (pattern, path)
        assert not expected or path.startswith(compiled.literal_prefix), (pattern, path)


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_an_escaped_name_matches_itself_and_nothing_longer(name: str) -> None:
    assume(name not in (".", ".."))
    pattern = "".join("\\" + character for character in name)
    assert matches(pattern, name)
    assert matches(pattern, "folder/" + name)
    assert not matches(pattern, name + "x")


@pytest.mark.parametrize("pattern", ["*a" * 40 + "*b", "x/**/" + "*a*/**/" * 6 + "b", "**/" + "*a*a*a/" * 6 + "b"])
def test_a_hostile_pattern_costs_no_more_than_its_length(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    path = "x/" + "/".join(["a" * 200] * 20)

    def cost(expression: object) -> float:
        started = process_time()
        for _ in range(3):
            expression(path)  # type: ignore[operator]
        return process_time() - started

    # The same many wildcards, tried one after the other, is the honest peer: backtracking would take years.
    peers = [compile_pattern("*a*b").matches for _ in range(2_000)]
    assert cost(compiled.matches) < cost(lambda path: [peer(path) for peer in peers])
