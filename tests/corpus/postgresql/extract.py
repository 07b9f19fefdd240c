#!/usr/bin/env python3
"""Split PostgreSQL's own regression tests into statements: extract.py SOURCE_TREE > statements.jsonl

One line per statement, ["test", "statement"], in the order in which the tests run. Understands what psql understands: quotes, dollar quotes,
nested comments, backslash commands (left out, with the statement's end they mean), data after COPY FROM STDIN (left out), BEGIN ATOMIC bodies.
"""
import json, re, sys

DOLLAR = re.compile(r"\$(?:[A-Za-z_\x80-\uffff]\w*)?\$")
ENDS = re.compile(r"\\(g|gx|gset|gexec|gdesc|crosstabview)\b")
# Only arithmetic on numbers of a thousand digits.
LEFT_OUT = {"numeric_big"}


def end_of_comment(text, at):
    depth, at = 1, at + 2
    while at < len(text) and depth:
        if text.startswith("/*", at):
            depth, at = depth + 1, at + 2
        elif text.startswith("*/", at):
            depth, at = depth - 1, at + 2
        else:
            at += 1
    return at


def end_of_string(text, at, escapes):
    at += 1
    while at < len(text):
        if escapes and text[at] == "\\":
            at += 2
        elif text.startswith("''", at):
            at += 2
        elif text[at] == "'":
            return at + 1
        else:
            at += 1
    return at


def find(text, what, at):
    found = text.find(what, at)
    return len(text) if found < 0 else found


def statements(text):
    found, start, at, brackets, bare = [], 0, 0, 0, ""

    def finish(end):
        nonlocal bare
        if bare.strip():
            found.append(text[start:end].strip())
        bare = ""

    while at < len(text):
        c = text[at]
        if text.startswith("--", at):
            at = find(text, "\n", at)
        elif text.startswith("/*", at):
            at = end_of_comment(text, at)
        elif c == "'":
            end = end_of_string(text, at, bare[-1:] in "eE" and bare != "" and not bare[-2:-1].isalnum())
            bare, at = bare + "'", end
        elif c == '"':
            bare, at = bare + c, find(text, '"', at + 1) + 1
        elif c == "$" and (tag := DOLLAR.match(text, at)) and not (bare[-1:].isalnum() or bare[-1:] == "_"):
            bare, at = bare + "$", find(text, tag.group(), tag.end()) + len(tag.group())
        elif c == "\\":
            end = find(text, "\n", at)
            if text.startswith("\\;", at):
                bare, at = bare + ";", at + 2
                continue
            if ENDS.match(text, at):
                finish(at)
                start = end
            elif not bare.strip():
                start = end
            at = end
        elif c == ";" and brackets == 0 and not (
            re.search(r"\bbegin\s+atomic\b", bare, re.I) and not re.search(r"\bend\s*$", bare, re.I)
        ):
            copied = re.match(r"\s*copy\b.*\bfrom\s+stdin", bare, re.I | re.S)
            finish(at)
            at += 1
            if copied:
                at = find(text, "\n\\.", at) + 3
            start = at
        else:
            brackets = max(0, brackets + (c in "([") - (c in ")]"))
            bare, at = bare + c, at + 1
    finish(len(text))
    return found


def main():
    regress = sys.argv[1] + "/src/test/regress"
    for line in open(regress + "/parallel_schedule", encoding="utf-8"):
        if not line.startswith("test:"):
            continue
        for test in line[5:].split():
            if test in LEFT_OUT:
                continue
            text = open(f"{regress}/sql/{test}.sql", encoding="utf-8", errors="replace").read()
            for statement in statements(text):
                print(json.dumps([test, statement], ensure_ascii=False))


main()
