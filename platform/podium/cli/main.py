"""The command's root: its groups, and what becomes of errors."""

import gc
import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from podium import __version__
from podium.cli import (
    alerts,
    artifacts,
    backfills,
    canary,
    collect,
    costs,
    database,
    doctor,
    model_adopt,
    model_advance,
    model_live,
    model_provenance,
    model_report,
    model_scan,
    models,
    output,
    pipelines,
    project,
    promotions,
    run,
    run_acts,
    runs,
    scheduler,
    schedules,
    server,
    triggers,
    up,
    worker,
)
from podium.errors import PodiumError

app = typer.Typer(
    name="podium",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("init")(project.init)
app.command("run")(run.run)
app.command("backfill")(backfills.backfill)
app.add_typer(backfills.app, name="backfills")
app.add_typer(pipelines.app, name="pipelines")
app.add_typer(runs.app, name="runs")
run_acts.add_to(runs.app)
app.add_typer(schedules.app, name="schedule")
app.add_typer(triggers.app, name="triggers")
models.app.command("report")(model_report.report)
models.app.command("scan")(model_scan.scan)
app.add_typer(models.app, name="models")
model_advance.add_to(models.app)
models.app.command("doctor")(doctor.of_models)
models.app.command("live")(model_live.live)
models.app.command("adopt")(model_adopt.adopt)
models.app.command("provenance")(model_provenance.provenance)
app.command("promote")(promotions.promote)
app.command("rollback")(promotions.rollback)
app.command("approve")(promotions.approve)
app.command("reject")(promotions.reject)
app.add_typer(promotions.app, name="promotions")
app.add_typer(canary.app, name="canary")
app.add_typer(costs.app, name="costs")
app.command("up")(up.up)
app.command("scheduler")(scheduler.scheduler)
app.command("worker")(worker.worker)
app.command("server")(server.server)
app.add_typer(alerts.app, name="alerts")
app.add_typer(artifacts.app, name="artifacts")
app.command("gc")(collect.collect)
app.add_typer(database.app, name="db")
app.command("doctor")(doctor.doctor)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - an option's callback is called like this
    if asked:
        output.write(f"podium {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Retrain models on a durable executor, promote them on evidence, account every cent.

    Example: podium run flight_delay --for 2013-03
    """
    del version
    if debug:
        os.environ["PODIUM_DEBUG"] = "1"


def main() -> NoReturn:
    """Run the command; whatever goes wrong becomes one paragraph and its exit code."""
    try:
        code = app(standalone_mode=False)
    except PodiumError as error:
        _fail(error, str(error), error.exit_code)
    except typer.TyperException as error:
        _fail(error, _misuse(error), 2)
    except (KeyboardInterrupt, typer.Abort) as error:
        _fail(error, "Interrupted.", 130)
    except BrokenPipeError:
        output.silence(sys.stdout)  # the reader left, as `| head` does
        sys.exit(0)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _fail(error, f"{what}. Check that the disk has room and that you may write there; what was done is kept.", 1)
    except Exception as error:  # noqa: BLE001 - a bug, but its reader is a person at a terminal
        what = " ".join(str(error).split())
        _fail(error, f"Podium met an error of its own: {type(error).__name__}: {what}. --debug shows where.", 1)
    finally:
        gc.freeze()  # half a million objects of imported libraries, which nobody need look through on the way out
    sys.exit(code or 0)


def _misuse(error: typer.TyperException) -> str:
    """Say in one line what is wrong with the words of the command, and where its help is."""
    message = error.format_message()
    if "\n" in message:  # a group called without a command: the message is its help
        return message
    context = getattr(error, "ctx", None)
    return f"{message.rstrip('.')}; see `{context.command_path if context else 'podium'} --help`."


def _fail(error: BaseException, text: str, code: int) -> NoReturn:
    if os.environ.get("PODIUM_DEBUG") == "1":
        traceback.print_exception(error)
    sys.stderr.write(f"{text}\n" if "\n" in text else f"Error: {text}\n")
    sys.exit(code)
