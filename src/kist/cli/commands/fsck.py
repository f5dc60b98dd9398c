"""`kist fsck`: verifies the cache and remotes, and mends what is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.cli.parser import add_limit, mistake, number_above_0

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.fsck import Damage, PlaceReport, Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `fsck`."""
    parser.add_argument("-c", "--cloud", action="store_true", help="Also verify the default remote.")
    parser.add_argument(
        "-r", "--remote", action="append", default=[], metavar="NAME", help="Also verify this remote."
    )
    parser.add_argument(
        "-w",
        "--workspace",
        action="store_true",
        help="Of remotes: what only commits name may be gone, as after `gc -c -w`.",
    )
    parser.add_argument(
        "--sample", type=_share, default=1.0, metavar="5%", help="Read only a random part of the objects."
    )
    parser.add_argument("--dry", action="store_true", help="Only say what is damaged.")
    parser.add_argument(
        "--restart", action="store_true", help="Read also what an interrupted run had read already."
    )
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many processes or requests at once."
    )
    add_limit(parser)
    parser.add_argument("--json", action="store_true", help="Print what was found as JSON.")


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 1 or not text.endswith("%"):
        raise mistake(f"'{text}' is not a share such as 5%")
    return share


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when all that was read is sound now, else 1."""
    from kist.repo.fsck import FsckOptions, fsck

    options = FsckOptions(
        cloud=args.cloud,
        remotes=tuple(args.remote),
        share=args.sample,
        dry=args.dry,
        restart=args.restart,
        jobs=args.jobs,
        is_workspace_only=args.workspace,
    )
    report = fsck(context.repository(), options)
    for note in report.notes:
        context.console.note(note)
    if context.as_json:
        context.console.data_json(_as_json(report))
    else:
        for place in report.places:
            _print_place(context, place, is_sample=args.sample < 1, is_dry=args.dry)
    if not report.is_ok and not args.dry and not context.as_json:
        context.console.hint("push or add the data again from where it is whole, then run `kist fsck` again")
    return 0 if report.is_ok else 1


def _print_place(context: Context, place: PlaceReport, *, is_sample: bool, is_dry: bool) -> None:
    from kist.cli.elsewhere import short_size, shown_names

    console = context.console
    size = short_size(place.size_bytes) + ("B" if place.size_bytes < 1024 else "")
    known = f", {place.known} of them by the interrupted run" if place.known else ""
    part = " of a sample" if is_sample else ""
    console.info(f"{place.where}: {_counted(place.objects, 'object')}{part} verified, {size}{known}")
    for damage in place.damaged:
        line = f"{place.where}: {shown_names(damage.names)} ({damage.oid}) {_state(damage, is_dry=is_dry)}"
        if damage.is_left:
            console.error(line)
        else:
            console.info(line)
    for item in place.incomplete:
        console.info(
            f"{place.where}: {shown_names(item.names)} ({item.oid}) lacks {_counted(item.missing, 'file')} here"
        )


def _state(damage: Damage, *, is_dry: bool) -> str:
    words = f"is {damage.why}"
    if damage.aside is not None:
        words += f", moved to '{damage.aside}'"
    if damage.mended_from is not None:
        source = damage.mended_from
        known = source in ("cache", "workspace")
        return f"{words}, mended from " + (f"the {source}" if known else f"remote '{source}'")
    if is_dry or damage.why == "unreadable":
        return words
    if not damage.is_left:
        return f"{words}: never pushed, or removed"
    return f"{words}; no intact copy was found"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "ok": report.is_ok,
        "notes": report.notes,
        "places": [
            {
                "where": place.where,
                "objects": place.objects,
                "bytes": place.size_bytes,
                "known": place.known,
                "damaged": [
                    {
                        "oid": item.oid,
                        "algorithm": item.algorithm,
                        "why": item.why,
                        "paths": list(item.names.paths) if item.names else [],
                        "commit": (item.names.commit or None) if item.names else None,
                        "aside": item.aside,
                        "mended_from": item.mended_from,
                    }
                    for item in place.damaged
                ],
                "incomplete": [
                    {
                        "oid": item.oid,
                        "algorithm": item.algorithm,
                        "paths": list(item.names.paths) if item.names else [],
                        "missing": item.missing,
                    }
                    for item in place.incomplete
                ],
            }
            for place in report.places
        ],
    }
