"""Dates: in the names of files and folders, in columns of tables, and ages such as `90d`.

A date stands for a whole period, a month, a day, a minute or a second, and is given as the moment at which that ends,
in seconds since 1970, UTC: whoever asks "is it over" never says so too early. Implements docs/spec/expire.md.
"""

from __future__ import annotations

import datetime
import re

DAY_S = 86400
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_YEAR = r"(?:19|20)\d\d"
_MONTH = r"(?:0[1-9]|1[0-2])"
_DAY = r"(?:0[1-9]|[12]\d|3[01])"
_HOUR, _MINUTE = r"(?:[01]\d|2[0-3])", r"[0-5]\d"
# A counter of four digits after a day is no time: without seconds a time needs a "T", a sign inside, or no gap.
_TIME = (
    rf"(?:[T_ -]?(?P<h1>{_HOUR})(?P<gap>[:._-]?)(?P<m1>{_MINUTE})(?P=gap)(?P<s1>{_MINUTE})"
    rf"|T(?P<h2>{_HOUR})[:._-]?(?P<m2>{_MINUTE})"
    rf"|[_ ](?P<h3>{_HOUR})[:.-](?P<m3>{_MINUTE})"
    rf"|(?<=\d{{8}})(?P<h4>{_HOUR})(?P<m4>{_MINUTE}))"
)
# The word around a date has no other digit, else half of the hexadecimal names in the world would hold one.
_NAME = re.compile(
    rf"(?<![0-9A-Za-z])[A-Za-z]*(?P<year>{_YEAR})"
    rf"(?:(?P<sign>[-_.]?)(?P<month>{_MONTH})(?P=sign)(?P<day>{_DAY}){_TIME}?|[-_.](?P<alone>{_MONTH})(?![-_.]?\d))"
    r"[A-Za-z]*(?![0-9A-Za-z])"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_FOLDERS = re.compile(
    rf"(?:^|/)(?:year=|y=)?(?P<year>{_YEAR})/(?:month=|m=)?(?P<month>{_MONTH})(?:/(?:day=|d=)?(?P<day>{_DAY}))?$"
)
_DAY_FILE = re.compile(rf"(?:day=|d=)?{_DAY}(?=\.|$)")
_ISO_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_AGE = re.compile(r"(\d{1,5})([dwmy])")


def end_of_name(name: str) -> int | None:
    """Returns the end of the period that a name without "/" tells, the latest of several; None where it tells none."""
    found: int | None = None
    matches = list(_NAME.finditer(name))
    if matches and "-" in name and _UUID.search(name):
        matches = list(_NAME.finditer(_UUID.sub("", name)))
    for match in matches:
        end = _end_of_match(match)
        if end is not None and (found is None or end > found):
            found = end
    return found


def _end_of_match(match: re.Match[str]) -> int | None:
    part = match.groupdict()
    if part["alone"] is not None:
        return _end_of_month(int(part["year"]), int(part["alone"]))
    start = _start_of_day(int(part["year"]), int(part["month"]), int(part["day"]))
    if start is None:
        return None
    for at in "1234":
        if part[f"h{at}"] is not None:
            start += int(part[f"h{at}"]) * 3600 + int(part[f"m{at}"]) * 60
            return start + int(part["s1"]) + 1 if at == "1" else start + 60
    return start + DAY_S


def end_of_path(path: str, folders: dict[str, int | None]) -> int | None:
    """Returns the end of the period that a path tells: its deepest part that tells one; None where none does.

    Args:
        path: parts separated by "/".
        folders: what was found for folders; filled on the way.
    """
    folder, _, name = path.rpartition("/")
    end = end_of_name(name)
    if end is not None:
        return end
    if name[:1] in "0123d" and (day := _DAY_FILE.match(name)) is not None:
        end = _end_of_folders(f"{folder}/{day[0]}")
        if end is not None:
            return end
    if folder not in folders:
        folders[folder] = _end_of_folder(folder)
    return folders[folder]


def _end_of_folder(folder: str) -> int | None:
    while folder:
        end = end_of_name(folder.rpartition("/")[2])
        if end is None:
            end = _end_of_folders(folder)
        if end is not None:
            return end
        folder = folder.rpartition("/")[0]
    return None


def _end_of_folders(path: str) -> int | None:
    match = _FOLDERS.search(path)
    if match is None:
        return None
    year, month = int(match["year"]), int(match["month"])
    if match["day"] is None:
        return _end_of_month(year, month)
    start = _start_of_day(year, month, int(match["day"]))
    return None if start is None else start + DAY_S


def end_of_text(text: str) -> int | None:
    """Returns the end of the period that the whole of a text tells, as in a table's column; None where it is no date.

    ISO 8601, with a time zone or without one (UTC), and what `end_of_name` knows.
    """
    text = text.strip()
    match = _NAME.fullmatch(text.removesuffix("Z"))
    if match is not None and text[:1].isdigit():
        return _end_of_match(match)
    if "/" in text:
        return _end_of_folders(text) if text[:1].isdigit() else None
    day = _ISO_DAY.fullmatch(text)
    if day is not None:  # any year: "9999-12-31" is how tables say "never"
        start = _start_of_day(int(day[1]), int(day[2]), int(day[3]))
        return None if start is None else start + DAY_S
    if len(text) < 11:  # numbers of weeks, days of the year: nobody means them by a few bare digits
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    try:
        return int(moment.replace(microsecond=0).timestamp()) + 1
    except OverflowError:
        return None


def moment_before(age: str, now_s: float) -> int | None:
    """Returns the moment that was so long ago: `90d`, `12w`, `6m`, `2y`; None where the text is no age.

    Months and years are those of the calendar: the same day and time, or the last day of a shorter month.
    """
    match = _AGE.fullmatch(age)
    if match is None:
        return None
    number, unit = int(match[1]), match[2]
    if unit in "dw":
        return int(now_s) - number * DAY_S * (7 if unit == "w" else 1)
    day, second = divmod(int(now_s), DAY_S)
    today = datetime.date.fromordinal(day + _EPOCH_DAY)
    months = today.year * 12 + today.month - 1 - number * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        return None
    last = (_end_of_month(year, month + 1) - 1) // DAY_S
    first = datetime.date(year, month + 1, 1).toordinal() - _EPOCH_DAY
    return min(first + today.day - 1, last) * DAY_S + second


def moment_of(text: str) -> int | None:
    """Returns the first moment of a day, `2024-05-31`, or the moment of a day and time; None where it is neither."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    try:
        return int(moment.replace(microsecond=0).timestamp())
    except OverflowError:
        return None


def day_text(moment_s: int) -> str:
    """Returns a moment's day in UTC, as `2024-05-31`."""
    return datetime.date.fromordinal(moment_s // DAY_S + _EPOCH_DAY).isoformat()


def moment_text(moment_s: int) -> str:
    """Returns a moment in UTC, as `2024-05-31T12:00:00Z`."""
    day, second = divmod(moment_s, DAY_S)
    date = datetime.date.fromordinal(day + _EPOCH_DAY).isoformat()
    return f"{date}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"


def _start_of_day(year: int, month: int, day: int) -> int | None:
    try:
        return (datetime.date(year, month, day).toordinal() - _EPOCH_DAY) * DAY_S
    except ValueError:
        return None


def _end_of_month(year: int, month: int) -> int:
    next_year, next_month = divmod(year * 12 + month, 12)
    if next_year > 9999:
        return (datetime.date.max.toordinal() + 1 - _EPOCH_DAY) * DAY_S
    return (datetime.date(next_year, next_month + 1, 1).toordinal() - _EPOCH_DAY) * DAY_S
