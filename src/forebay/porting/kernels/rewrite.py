"""Turn a preprocessed .cu file into C++ that the host's compiler takes.

Asked:  what of CUDA's language is left once the headers are ours?
Answer: six things, each rewritten on its own line so that the compiler's words name the user's lines: launches, shared
        arrays, dynamic shared arrays, constant memory, the markers of functions, and statements that write to a shared
        array: a block of one warp meets there (warp.h, in_step). Nothing else is touched.
Limits: a launch's callee is found backwards from `<<<`: a name with template arguments, a call, or something in parentheses.
"""

from __future__ import annotations

from forebay.porting.kernels.tokens import Token, closing, commas, last_solid, next_solid, opening, text_of

_MARKERS = {
    "__global__": "",
    "__device__": "",
    "__host__": "",
    "__grid_constant__": "",
    "__managed__": "",
    "__noinline__": "__attribute__((noinline))",
    "__forceinline__": "inline",
    "__inline__": "inline",
    "__restrict__": "__restrict__",
}
_SPACE = "::forebay_cuda::"
_ASSIGNMENTS = {"=", "+=", "-=", "*=", "/=", "%=", "|=", "&=", "^="}


def rewrite(tokens: list[Token]) -> str:
    """The same text as host C++."""
    return text_of(_Rewriter(list(tokens)).all())


class _Rewriter:
    """Goes over the tokens once. What is finished lies in `done`."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.done: list[Token] = []
        self.depth: list[str] = []  # what each open brace belongs to: "function" or "space"
        self.arrays: set[str] = set()  # the shared arrays so far
        self.steps = 0

    def all(self) -> list[Token]:
        at = 0
        while at < len(self.tokens):
            at = self._step(at)
        return self.done

    def _step(self, at: int) -> int:
        token = self.tokens[at]
        if token.kind == "sign":
            if token.text == "<<<":
                return self._launch(at)
            if token.text == "{":
                self.depth.append(self._owner())
            elif token.text == "}" and self.depth:
                self.depth.pop()
        elif token.kind == "word":
            if token.text == "__shared__":
                return self._shared(at)
            if token.text == "__constant__":
                return self._constant(at)
            if token.text == "__launch_bounds__":
                return closing(self.tokens, next_solid(self.tokens, at + 1)) + 1
            if token.text == "__align__":
                return self._align(at)
            if token.text in ("__forceinline__", "__inline__"):
                self._put(at, "" if self._statement_has("inline") else "inline")
                return at + 1
            if token.text == "inline" and self._statement_has("inline"):
                return at + 1
            if token.text in _MARKERS:
                self._put(at, _MARKERS[token.text])
                return at + 1
            if token.text in self.arrays and self._begins_a_write(at):
                return self._write_in_step(at)
        self.done.append(token)
        return at + 1

    def _put(self, at: int, text: str) -> None:
        token = self.tokens[at]
        self.done.append(Token("word", text, token.file, token.line))

    def _statement_has(self, word: str) -> bool:
        """Does the statement so far, which is in `done`, have this word?"""
        for token in reversed(self.done):
            if token.kind == "sign" and token.text in (";", "}", "{"):
                return False
            if token.text == word:
                return True
        return False

    def _owner(self) -> str:
        """Whether the brace that opens now is a function's (or a block in one), or a namespace's or class's."""
        if "function" in self.depth:
            return "function"
        for token in reversed(self.done):
            if token.blank:
                continue
            if token.text in (";", "}", "{"):
                break
            if token.text in ("namespace", "struct", "class", "union", "enum", "extern"):
                return "space"
        last = last_solid(self.done, len(self.done) - 1)
        return "space" if last < 0 else "function"

    # ---- kernel<<<grid, block, shared, stream>>>(arguments)
    def _launch(self, at: int) -> int:
        end = self._config_end(at)
        call = next_solid(self.tokens, end + 3)
        if end == len(self.tokens) or call == len(self.tokens) or self.tokens[call].text != "(":
            self.done.append(self.tokens[at])  # not a launch: the compiler will say what it is
            return at + 1
        close = closing(self.tokens, call)
        first = self._callee()
        callee = self.done[first:]
        del self.done[first:]
        place = self.tokens[at]
        config = rewrite(_unmarked(self.tokens[at + 1 : end]))
        arguments = ["nullptr" if part.strip() in ("__null", "NULL") else part for part in self._arguments(call, close)]
        name = " ".join(text_of(_unmarked(callee)).split())
        text = (
            f"{_SPACE}launch({_quoted(name)}, {_quoted(place.file)}, {place.line}, {_SPACE}Config({config}), "
            + f"[&](auto&... forebay_argument) {{ {name}(forebay_argument...); }}"
            + "".join(", " + argument for argument in arguments)
            + f')\n# {self.tokens[close].line} "{place.file}"\n'  # the lines of the user go on from here
        )
        self.done.append(Token("sign", text, place.file, place.line))
        return close + 1

    def _arguments(self, call: int, close: int) -> list[str]:
        return [rewrite(part) for part in commas(_unmarked(self.tokens[call + 1 : close]))]

    def _config_end(self, at: int) -> int:
        """Where the `>>>` of the launch begins: the first three in a row, in no bracket, with a parenthesis behind them."""
        place = at + 1
        while place < len(self.tokens):
            token = self.tokens[place]
            if token.text in ("(", "[", "{"):
                place = closing(self.tokens, place)
            elif token.text == ";":
                break
            elif [one.text for one in self.tokens[place : place + 3]] == [">", ">", ">"]:
                after = next_solid(self.tokens, place + 3)
                if after < len(self.tokens) and self.tokens[after].text == "(":
                    return place
            place += 1
        return len(self.tokens)

    def _callee(self) -> int:
        """Where in `done` the expression begins that is launched."""
        done = self.done
        at = last_solid(done, len(done) - 1)
        while True:
            if done[at].text == ">":
                at = last_solid(done, _angle(done, at) - 1)
            elif done[at].text in (")", "]"):
                start = opening(done, at)
                before = last_solid(done, start - 1)
                if before < 0 or not (done[before].kind == "word" or done[before].text in (">", "]", ")")):
                    return start
                if done[before].text in ("return", "if", "else", "while", "for", "do", "case"):
                    return start
                if done[before].text == ")":
                    return start
                at = before
                continue
            first = at
            before = last_solid(done, first - 1)
            if before >= 0 and done[before].text == "template":
                first, before = before, last_solid(done, before - 1)
            if before >= 0 and done[before].text in ("::", ".", "->"):
                left = last_solid(done, before - 1)
                if (
                    left >= 0
                    and (done[left].kind == "word" or done[left].text in (">", ")", "]"))
                    and done[left].text != "return"
                ):
                    at = left
                    continue
                return before
            return first

    # ---- tile[i] = value;
    def _begins_a_write(self, at: int) -> bool:
        before = last_solid(self.done, len(self.done) - 1)
        if before < 0 or self.done[before].text not in (";", "{", "}", ")", "else"):
            return False
        after = next_solid(self.tokens, at + 1)
        while after < len(self.tokens) and self.tokens[after].text == "[":
            after = next_solid(self.tokens, closing(self.tokens, after) + 1)
        return after < len(self.tokens) and after > next_solid(self.tokens, at + 1) and self.tokens[after].text in _ASSIGNMENTS

    def _write_in_step(self, at: int) -> int:
        """A comma on each side keeps it one statement, also behind an `if` without braces."""
        self._put(at, f"{_SPACE}in_step({self.steps + 1}), ")
        self.steps += 2
        last = self.steps
        self.done.append(self.tokens[at])
        at += 1
        while at < len(self.tokens) and self.tokens[at].text != ";":
            at = self._step(at)
        # Both branches of an if end at one place, that of the second, so that neither runs ahead of the other.
        self._put(at - 1, f", {_SPACE}in_step({last + 2 if self._else_follows(at) else last})")
        return at

    def _else_follows(self, at: int) -> bool:
        after = next_solid(self.tokens, at + 1)
        if after < len(self.tokens) and self.tokens[after].text == "}":
            after = next_solid(self.tokens, after + 1)
        return after < len(self.tokens) and self.tokens[after].text == "else"

    # ---- __shared__
    def _shared(self, at: int) -> int:
        start = self._statement_start()
        end = at
        while end < len(self.tokens) and self.tokens[end].text != ";":
            end = closing(self.tokens, end) if self.tokens[end].text in ("(", "[", "{") else end
            end += 1
        before = self.done[start:]
        if any(token.text == "extern" for token in before):
            return self._dynamic(start, at, end)
        self.arrays |= set(_names([token for token in self.tokens[at + 1 : end] if not token.blank]))
        del self.done[start:]
        self.done += [token for token in before if token.text != "static"]
        self._put(at, "static thread_local")
        return at + 1

    def _dynamic(self, start: int, at: int, end: int) -> int:
        """extern __shared__ T name[]: a pointer into the block's memory."""
        declared = [token for token in self.done[start:] + self.tokens[at + 1 : end] if token.text not in ("extern", "static")]
        del self.done[start:]
        solid = _without_alignment([token for token in declared if not token.blank and token.text not in _MARKERS])
        bracket = next(i for i, token in enumerate(solid) if token.text == "[")
        name, kind, rest = solid[bracket - 1].text, solid[: bracket - 1], solid[closing(solid, bracket) + 1 :]
        self.arrays.add(name)
        written = " ".join(token.text for token in kind)
        if self.depth and "function" in self.depth:
            target = f"{written} (*{name}){text_of(rest)}" if rest else f"{written}* {name}"
            pointer = f"{written} (*){text_of(rest)}" if rest else f"{written}*"
            text = f"{target} = ({pointer}){_SPACE}dynamic_shared()"
        else:
            text = f"static const {_SPACE}DynamicShared<{written}> {name}"
        self.done.append(Token("word", text, self.tokens[at].file, self.tokens[at].line))
        return end

    def _constant(self, at: int) -> int:
        known = self._statement_has("static") or self._statement_has("extern")
        after = next_solid(self.tokens, at + 1)
        self._put(at, "" if known or (after < len(self.tokens) and self.tokens[after].text in ("static", "extern")) else "static")
        return at + 1

    def _align(self, at: int) -> int:
        call = next_solid(self.tokens, at + 1)
        end = closing(self.tokens, call)
        self._put(at, f"__attribute__((aligned{rewrite(self.tokens[call : end + 1])}))")
        return end + 1

    def _statement_start(self) -> int:
        for at in range(len(self.done) - 1, -1, -1):
            token = self.done[at]
            if token.kind == "sign" and token.text in (";", "{", "}"):
                return next_solid(self.done, at + 1)
        return next_solid(self.done, 0)


def _names(declared: list[Token]) -> list[str]:
    """The arrays of a declaration: each name with a bracket behind it that isn't inside another one."""
    names, at = [], 0
    while at < len(declared):
        if declared[at].text in ("(", "[", "{"):
            if declared[at].text == "[" and at and declared[at - 1].kind == "word":
                names.append(declared[at - 1].text)
            at = closing(declared, at)
        at += 1
    return names


def _angle(tokens: list[Token], at: int) -> int:
    """The place of the `<` that the `>` at `at` closes, passing over what is in brackets."""
    depth = 0
    while at >= 0:
        text = tokens[at].text
        if text in (")", "]", "}"):
            at = opening(tokens, at)
        elif text == ">":
            depth += 1
        elif text == "<":
            depth -= 1
            if depth == 0:
                return at
        at -= 1
    return 0


def _unmarked(tokens: list[Token]) -> list[Token]:
    """Without line markers, for text that moves to another line."""
    return [token for token in tokens if token.kind != "marker"]


def _without_alignment(tokens: list[Token]) -> list[Token]:
    """Without alignas(...), __align__(...) and __attribute__((...)): the block's memory is aligned for everything."""
    kept, at = [], 0
    while at < len(tokens):
        if tokens[at].text in ("alignas", "__align__", "__attribute__"):
            at = closing(tokens, at + 1) + 1
        else:
            kept.append(tokens[at])
            at += 1
    return kept


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
