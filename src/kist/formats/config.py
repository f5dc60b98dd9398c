"""Configuration files: bytes <-> sections and options, and edits that keep comments and order.

Not here: which options exist (_config_schema), levels and paths (kist.repo.settings). Implements
docs/spec/config.md, sections 2 and 3. ConfigObj, with which DVC reads these files, is an oracle of the tests and
not needed at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kist.errors import ConfigError

COMMAND_OPTIONS = frozenset({"bearer_token_command"})
"""Options whose value is run as a command. Taken from files of the person alone, not from what somebody else wrote."""

Value = str | tuple[str, ...]
Model = dict["SectionKey", dict[str, Value]]

NAMED_KINDS = ("remote", "machine", "db")
"""Kinds of sections of which there are several, in the order in which DVC writes them behind the others."""

_INDENT = "    "
_QUOTES = ("'", '"')


class ConfigSyntaxError(ConfigError):
    """A configuration file has a line that cannot be understood. The user mends it; a retry does not help."""

    code = "config-syntax"


class ConfigValueError(ConfigError):
    """A title or value cannot be written to a configuration file, with any quotes. Nothing was changed."""

    code = "config-value"


class SectionKey(NamedTuple):
    """What a section is about: a kind, and for kinds with several sections a name. Both in lower case."""

    kind: str
    name: str = ""

    @property
    def title(self) -> str:
        """The text between the brackets, without the quotes around all of it."""
        return f'{self.kind} "{self.name}"' if self.kind in NAMED_KINDS else self.kind


class ConfigOption(NamedTuple):
    """One option.

    Attributes:
        name: in lower case.
        value: a text, or a tuple of texts where commas made a list.
        line, last_line: where it stands, from 1.
    """

    name: str
    value: Value
    line: int
    last_line: int


class ConfigSection(NamedTuple):
    """One section with its options in the order of the file; `line` is that of its title, from 1."""

    key: SectionKey
    options: tuple[ConfigOption, ...]
    line: int


class ConfigFile(NamedTuple):
    """A whole file.

    Attributes:
        name: of the file, for messages.
        sections: in the order of the file, each key once.
        has_comments: whether anything would be lost by writing the values alone.
    """

    name: str
    sections: tuple[ConfigSection, ...]
    has_comments: bool

    def section(self, key: SectionKey) -> ConfigSection | None:
        """Returns the section, or None."""
        return next((section for section in self.sections if section.key == key), None)

    def option(self, key: SectionKey, name: str) -> ConfigOption | None:
        """Returns the option `name` (lower case) of a section, or None."""
        section = self.section(key)
        if section is None:
            return None
        return next((option for option in section.options if option.name == name), None)

    def without_commands(self) -> ConfigFile:
        """Returns the same without options that name a command to be run: the file is somebody else's (rule R15)."""
        sections = tuple(
            section._replace(options=tuple(one for one in section.options if one.name not in COMMAND_OPTIONS))
            for section in self.sections
        )
        return self._replace(sections=sections)

    def model(self) -> Model:
        """Returns the values alone, as a fresh dictionary that may be changed."""
        return {
            section.key: {option.name: option.value for option in section.options}
            for section in self.sections
        }


def section_key(title: str) -> SectionKey:
    """Returns the key that a section's title stands for."""
    title = title.lower()
    kind, _, name = title.partition(" ")
    name = name.strip(" \t")
    if kind in NAMED_KINDS and len(name) >= 2 and name[0] == name[-1] == '"':
        return SectionKey(kind, name[1:-1])
    return SectionKey(title)


def parse_config(data: bytes, *, name: str) -> ConfigFile:
    """Returns what a configuration file says.

    Args:
        name: of the file, for messages and for the result.

    Raises: ConfigSyntaxError: naming the file and the line.
    """
    lines = _decode(data, name).splitlines()
    sections: dict[SectionKey, ConfigSection] = {}
    titles: set[str] = set()
    key: SectionKey | None = None
    title_line = 0
    options: dict[str, ConfigOption] = {}
    keys: set[str] = set()
    has_comments = False
    index = 0
    while index < len(lines):
        text = lines[index].strip()
        index += 1
        if not text:
            continue
        if text[0] == "#":
            has_comments = True
            continue
        try:
            if text[0] == "[":
                if key is not None:
                    sections[key] = ConfigSection(key, tuple(options.values()), title_line)
                title, comment = _read_title(text)
                if title in titles:
                    raise _Wrong(f"section '{title}' is there twice")
                titles.add(title)
                key, title_line, options, keys = section_key(title), index, {}, set()
                has_comments = has_comments or comment
                continue
            first = index
            spelling, rest = _split_option(lines[first - 1].lstrip())
            value, index, comment = _read_value(rest, lines, index)
            if key is None:
                raise _Wrong(f"option '{spelling}' stands before the first section")
            if spelling in keys:
                raise _Wrong(f"option '{spelling}' is there twice")
        except _Wrong as wrong:
            raise ConfigSyntaxError(
                f"cannot read config file '{name}', line {index}: {wrong}",
                hint=f"mend line {index} of '{name}'",
            ) from wrong
        keys.add(spelling)
        option = ConfigOption(spelling.lower(), value, first, index)
        options[option.name] = option
        has_comments = has_comments or comment
    if key is not None:
        sections[key] = ConfigSection(key, tuple(options.values()), title_line)
    return ConfigFile(name, tuple(sections.values()), has_comments)


def set_option(data: bytes, key: SectionKey, option: str, value: Value, *, name: str) -> bytes:
    """Returns the file with one option added or changed.

    Raises: ConfigSyntaxError, ConfigValueError.
    """
    model = parse_config(data, name=name).model()
    model.setdefault(key, {})[option.lower()] = value
    return write_model(data, model, name=name)


def set_section(data: bytes, key: SectionKey, options: Mapping[str, Value], *, name: str) -> bytes:
    """Returns the file with a section that has exactly these options.

    Raises: ConfigSyntaxError, ConfigValueError.
    """
    model = parse_config(data, name=name).model()
    model[key] = dict(options)
    return write_model(data, model, name=name)


def unset_option(data: bytes, key: SectionKey, option: str, *, name: str) -> bytes:
    """Returns the file without an option; a plain section that becomes empty goes with it, as in DVC.

    Raises: ConfigSyntaxError.
    """
    model = parse_config(data, name=name).model()
    if key in model:
        model[key].pop(option.lower(), None)
    return write_model(data, model, name=name)


def remove_section(data: bytes, key: SectionKey, *, name: str) -> bytes:
    """Returns the file without a section.

    Raises: ConfigSyntaxError.
    """
    model = parse_config(data, name=name).model()
    model.pop(key, None)
    return write_model(data, model, name=name)


def rename_section(data: bytes, old: SectionKey, new: SectionKey, *, name: str) -> bytes:
    """Returns the file with a section under another title.

    Without comments it moves behind its sisters, as in DVC.

    Raises: ConfigSyntaxError, ConfigValueError.
    """
    parsed = parse_config(data, name=name)
    section = parsed.section(old)
    if section is None or old == new:
        return data
    model = parsed.model()
    model[new] = model.pop(old)
    if parsed.has_comments:
        lines = _decode(data, name).splitlines(keepends=True)
        lines[section.line - 1] = _with_title(lines[section.line - 1], new)
        data = "".join(lines).encode("utf-8")
    return write_model(data, model, name=name)


def write_model(data: bytes, model: Model, *, name: str) -> bytes:
    """Returns the file `data` changed so that it says `model`: anew without comments, line by line with them.

    Raises: ConfigSyntaxError, ConfigValueError.
    """
    parsed = parse_config(data, name=name)
    text = _patch(_decode(data, name), parsed, model) if parsed.has_comments else _render(model)
    try:
        result = text.encode("utf-8")
        back = parse_config(result, name=name).model()
    except (UnicodeEncodeError, ConfigSyntaxError) as error:
        raise ConfigValueError(
            f"cannot write config file '{name}': a name or value has characters that it cannot hold"
        ) from error
    if _without_empty(back) != _without_empty(model):
        raise ConfigValueError(
            f"cannot write config file '{name}': a name or value would not be read back as it was given"
        )
    return result


class _Wrong(Exception):
    """What is wrong with a line; the parser adds where it is."""


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigSyntaxError(
            f"cannot read config file '{name}', line {line}: byte 0x{data[error.start]:02x} is not UTF-8",
            hint=f"mend line {line} of '{name}'",
        ) from error


def _read_title(text: str) -> tuple[str, bool]:
    """Returns the title of a section line, unquoted, and whether a comment follows it."""
    close, comment = _closing_bracket(text)
    inner = text[1:close].strip()
    if inner[:1] == "[" or inner[-1:] == "]":
        raise _Wrong("a section inside a section is not known here")
    quote = inner[:1]
    if quote in _QUOTES:
        if len(inner) < 3 or inner[-1] != quote or not inner[1:-1].strip():
            raise _Wrong(f"the title {inner} has no closing quote, or is empty")
        return inner[1:-1], comment
    if not inner:
        raise _Wrong("the section has no title")
    return inner, comment


def _closing_bracket(text: str) -> tuple[int, bool]:
    """Returns the position of the bracket that ends a section line, and whether a comment follows it."""
    close = text.find("]")
    while close >= 0:
        rest = text[close + 1 :].lstrip()
        # Inside quotes a bracket and a number sign are letters like any other.
        inner = text[1:close].strip()
        quoted = inner[:1] in _QUOTES and (len(inner) < 2 or inner[-1] != inner[0])
        if not quoted and (not rest or rest[0] == "#"):
            return close, bool(rest)
        close = text.find("]", close + 1)
    raise _Wrong(f"{text[:40]!r} is not a section")


def _split_option(text: str) -> tuple[str, str]:
    """Returns the key of an option line, unquoted, and what follows the equals sign."""
    quote = text[0]
    if quote in _QUOTES:
        close = text.find(quote, 1)
        key, rest = text[1:close], text[close + 1 :].lstrip()
        if close < 2 or rest[:1] != "=":
            raise _Wrong(f"{text[:40]!r} is neither a section nor an option")
        return key, rest[1:].lstrip()
    key, equals, rest = text.partition("=")
    key = key.rstrip()
    if not equals or not key:
        raise _Wrong(f"{text[:40]!r} is neither a section nor an option")
    return key, rest.lstrip()


def _read_value(text: str, lines: list[str], index: int) -> tuple[Value, int, bool]:
    """Returns the value that begins with `text`, the count of lines read so far, and whether a comment follows."""
    if text[:3] in ("'''", '"""'):
        return _read_triple(text, lines, index)
    if not ("," in text or "#" in text or '"' in text or "'" in text):
        return text.rstrip(), index, False
    items, is_list, position = _read_items(text)
    rest = text[position:].lstrip()
    if rest and rest[0] != "#":
        raise _Wrong("a quote or comma is out of place in the value")
    if is_list:
        return tuple(items), index, bool(rest)
    return (items[0] if items else ""), index, bool(rest)


def _read_items(text: str) -> tuple[list[str], bool, int]:
    """Returns the items of a value, whether they are a list, and the position behind them."""
    items: list[str] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        char = text[position]
        if char == "#":
            break
        if char == ",":
            if items:
                raise _Wrong("an item is missing between two commas")
            return items, True, position + 1
        if char in _QUOTES:
            close = _closing_quote(text, position)
            items.append(text[position + 1 : close])
            position = close + 1
        else:
            stop = position
            while stop < len(text) and text[stop] not in ",#":
                stop += 1
            items.append(text[position:stop].rstrip())
            position = stop
        while position < len(text) and text[position].isspace():
            position += 1
        if text[position : position + 1] != ",":
            return items, len(items) > 1, position
        position += 1
        if not text[position:].strip() or text[position:].lstrip()[0] == "#":
            return items, True, position
    return items, len(items) > 1, position


def _closing_quote(text: str, position: int) -> int:
    """Returns where the quoted item at `position` ends: at a quote that a comma, a comment or the end follows."""
    quote = text[position]
    close = text.find(quote, position + 1)
    while close >= 0:
        follower = close + 1
        while follower < len(text) and text[follower].isspace():
            follower += 1
        if follower == len(text) or text[follower] in ",#":
            return close
        close = text.find(quote, close + 1)
    raise _Wrong("a quote in the value is not closed")


def _read_triple(text: str, lines: list[str], index: int) -> tuple[Value, int, bool]:
    """Returns a value in three quotes, the count of lines read so far, and whether a comment follows it."""
    quote = text[:3]
    end = _triple_end(text, quote, 3)
    if end is not None:
        return text[3:end], index, bool(text[end + 3 :].strip())
    if text.find(quote, 3) >= 0:
        raise _Wrong("something stands behind the three closing quotes")
    parts = [text[3:]]
    while index < len(lines):
        line = lines[index]
        index += 1
        if quote in line:
            end = _triple_end(line, quote, 0)
            if end is None:
                raise _Wrong("something stands behind the three closing quotes")
            return "\n".join([*parts, line[:end]]), index, bool(line[end + 3 :].strip())
        parts.append(line)
    raise _Wrong("three quotes are not closed")


def _triple_end(text: str, quote: str, start: int) -> int | None:
    end = text.find(quote, start)
    while end >= 0:
        rest = text[end + 3 :].lstrip()
        if not rest or rest[0] == "#":
            return end
        end = text.find(quote, end + 1)
    return None


def _without_empty(model: Model) -> Model:
    return {key: options for key, options in model.items() if options}


def _render(model: Model) -> str:
    """Returns the text that DVC writes for these values."""
    ordered = [key for key in model if key.kind not in NAMED_KINDS]
    for kind in NAMED_KINDS:
        ordered += [key for key in model if key.kind == kind]
    lines = []
    for key in ordered:
        if model[key] or key.kind in NAMED_KINDS:
            lines.append(f"[{_quote(key.title, several_lines=False)}]")
            lines += [_option_line(option, value) for option, value in model[key].items()]
    return "\n".join(lines) + "\n"


def _option_line(option: str, value: Value) -> str:
    return f"{_INDENT}{_quote(option, several_lines=False)} = {_quote_value(value)}"


def _quote_value(value: Value) -> str:
    if isinstance(value, str):
        return _quote(value, several_lines=True)
    if not value:
        return ","
    quoted = [_quote(item, several_lines=False) for item in value]
    return quoted[0] + "," if len(quoted) == 1 else ", ".join(quoted)


def _quote(text: str, *, several_lines: bool) -> str:
    """Returns the text, in quotes where ConfigObj would write them."""
    if not text:
        return '""'
    if several_lines and ("\n" in text or ("'" in text and '"' in text)):
        if '"""' not in text:
            return f"'''{text}'''"
        if "'''" not in text:
            return f'"""{text}"""'
        raise _unquotable(text)
    if "\n" in text:
        raise _unquotable(text)
    if not (set(text) & {",", "#"} or text[0] in " \r\n\v\t'\"" or text[-1] in " \r\n\v\t'\""):
        return text
    if '"' not in text:
        return f'"{text}"'
    if "'" in text:
        raise _unquotable(text)
    return f"'{text}'"


def _unquotable(text: str) -> ConfigValueError:
    # The text itself is left out: it may be a secret.
    return ConfigValueError(
        f"cannot write a name or value of {len(text)} characters: its quotes cannot be quoted"
    )


def _patch(text: str, parsed: ConfigFile, model: Model) -> str:
    """Returns the text with only those lines changed in which it differs from `model`."""
    lines: list[str] = text.splitlines(keepends=True)
    newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
    if not lines[-1].endswith(("\n", "\r")):
        lines[-1] += newline
    # From the end, so that the line numbers before stay right.
    for section in sorted(parsed.sections, key=lambda one: one.line, reverse=True):
        if section.key not in model:
            _drop_section(lines, section)
        else:
            _patch_section(lines, section, model[section.key], newline)
    for key, options in model.items():
        if options and parsed.section(key) is None:
            lines.append(f"[{_quote(key.title, several_lines=False)}]{newline}")
            lines += [_option_line(option, value) + newline for option, value in options.items()]
    return "".join(lines)


def _last_line(section: ConfigSection) -> int:
    return max((option.last_line for option in section.options), default=section.line)


def _drop_section(lines: list[str], section: ConfigSection) -> None:
    stop = _last_line(section)
    while stop < len(lines) and not lines[stop].strip():
        stop += 1
    del lines[section.line - 1 : stop]


def _patch_section(lines: list[str], section: ConfigSection, wanted: dict[str, Value], newline: str) -> None:
    is_plain = section.key.kind not in NAMED_KINDS
    if not wanted and section.options and is_plain and not _has_comment(lines, section):
        _drop_section(lines, section)
        return
    old = {option.name: option.value for option in section.options}
    added = [_option_line(option, value) + newline for option, value in wanted.items() if option not in old]
    last = _last_line(section)
    lines[last:last] = added
    for option in sorted(section.options, key=lambda one: one.line, reverse=True):
        span = slice(option.line - 1, option.last_line)
        if option.name not in wanted:
            del lines[span]
        elif wanted[option.name] != option.value:
            lines[span] = [_with_value(lines[span], wanted[option.name], newline)]


def _has_comment(lines: list[str], section: ConfigSection) -> bool:
    inside = lines[section.line : _last_line(section)]
    return "#" in lines[section.line - 1] or any(line.lstrip().startswith("#") for line in inside)


def _with_value(old: list[str], value: Value, newline: str) -> str:
    """Returns the lines of an option as one, with another value, its key and comment as they were."""
    bare = [line.rstrip("\r\n") for line in old]
    key, _ = _split_option(bare[0].strip())
    equals = bare[0].index("=", bare[0].index(key) + len(key))
    rest = bare[0][equals + 1 :]
    start = equals + 1 + len(rest) - len(rest.lstrip())
    return (
        bare[0][:start]
        + (" " if start == equals + 1 and rest == "" else "")
        + _quote_value(value)
        + _comment(bare, rest)
        + newline
    )


def _comment(bare: list[str], rest: str) -> str:
    """Returns the comment behind a value with the blanks before it, or nothing."""
    rest = rest.lstrip()
    if rest[:3] in ("'''", '"""'):
        last, start = (rest, 3) if len(bare) == 1 else (bare[-1], 0)
        end = _triple_end(last, rest[:3], start)
        tail = last[end + 3 :] if end is not None else ""
    else:
        _, _, position = _read_items(rest)
        while position > 0 and rest[position - 1].isspace():
            position -= 1
        tail = rest[position:]
    return tail if tail.strip() else ""


def _with_title(old: str, key: SectionKey) -> str:
    close, _ = _closing_bracket(old.strip())
    start = len(old) - len(old.lstrip())
    return old[:start] + f"[{_quote(key.title, several_lines=False)}" + old[start + close :]
