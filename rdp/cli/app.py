"""The `rdp` program: commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rdp.cli.audit import audit_command
from rdp.cli.codecs import codecs_command
from rdp.cli.compare import compare_command
from rdp.cli.decode import decode_command
from rdp.cli.encode import encode_command
from rdp.cli.evaluate import evaluate_command
from rdp.cli.finetune import finetune_command
from rdp.cli.frontier import frontier_command
from rdp.cli.knee import knee_command
from rdp.cli.metrics import metrics_command
from rdp.cli.pack import pack_command, unpack_command
from rdp.cli.report import report_command
from rdp.cli.samples import samples_command
from rdp.cli.solve import solve_command
from rdp.cli.table import table_app
from rdp.cli.train import train_app
from rdp.cli.weights import weights_app
from rdp.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, RdpError

_KEPT = {
    "evaluate": "what was committed is kept; the same command goes on from there",
    "audit": "computed features are kept; the same command goes on from there",
}
"""What of a command's work is there after an interruption."""


class _Group(TyperGroup):
    """Turns our errors into a message and an exit code, whichever command they come from."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RdpError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            kept = _KEPT.get(ctx.invoked_subcommand)
            typer.echo(f"interrupted: {kept}" if kept else "interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from error


app = typer.Typer(
    name="rdp",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Rate-distortion-perception studies in image compression.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("evaluate", short_help="Images and operating points into a table of rows.")(evaluate_command)
app.command("solve", short_help="One operating point for every image, provably.")(solve_command)
app.command("frontier", short_help="The rate-distortion curve or surface along a sweep.")(frontier_command)
app.command("knee", short_help="The knee of every perception-distortion curve.")(knee_command)
app.command("compare", short_help="Two selections, image by image: more than chance?")(compare_command)
app.command("audit", short_help="Selected mixtures as sets, beside every single point.")(audit_command)
app.command("report", short_help="Tables and figure of a selection.")(report_command)
app.command("pack", short_help="The chosen files as a delivery, with a manifest.")(pack_command)
app.command("unpack", short_help="A delivery back into pictures, checked.")(unpack_command)
app.command("encode", short_help="One image into one file.")(encode_command)
app.command("decode", short_help="One file back into a picture.")(decode_command)
app.add_typer(table_app, name="table", short_help="Show or export rows.")
app.add_typer(train_app, name="train", short_help="Train compression networks.")
app.command("finetune", short_help="Decoders along the perception-distortion curve, at a fixed rate.")(finetune_command)
app.add_typer(weights_app, name="weights", short_help="Network weights: where they are, verified.")
app.command("codecs", short_help="Codec families and their keys; what a spec means.")(codecs_command)
app.command("metrics", short_help="Metrics, their columns and weights.")(metrics_command)
app.command("samples", short_help="Six photographs to try things on.")(samples_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        from rdp import __version__

        typer.echo(f"rdp {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Rate-distortion-perception studies in image compression: tables, provable selection, reports."""


def main() -> None:
    """Run the program. Exit codes: see `rdp.errors`."""
    # A polite kill ends as Ctrl-C does: rows are committed, workers stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except Exception:  # noqa: BLE001 - the border of the program: a bug shows its traceback and has its own exit code
        traceback.print_exc()
        typer.echo("internal error: this is a bug of rdp; please report it with the lines above", err=True)
        sys.exit(EXIT_INTERNAL)
