"""`chatwright <verb>`: the verbs, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import sys

import typer

from chatwright.cli import bench, constitution, data, demo, engine, feedback, interop, models, people, serve, train

app = typer.Typer(
    name="chatwright",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "The whole life of a ChatGPT in one package: text in; an aligned, measured, served assistant out.\n\n"
        "Begin with `chatwright demo`, which builds an assistant from nothing and serves it on this machine."
    ),
)
app.command("demo")(demo.demo)
app.command("curate")(data.curate)
app.command("tokenizer")(data.tokenizer)
app.command("pretrain")(train.pretrain)
app.command("sft")(train.sft)
app.command("reward")(train.reward)
app.command("ppo")(train.ppo)
app.command("grpo")(train.grpo)
app.command("best-of-n")(train.best_of_n)
app.command("dpo")(train.dpo)
app.command("constitution")(constitution.constitution)
app.command("evaluate")(models.evaluate)
app.command("models")(models.models)
app.command("import")(interop.import_)
app.command("export")(interop.export)
app.command("engine")(engine.engine)
app.command("serve")(serve.serve)
app.add_typer(bench.app, name="bench")
app.add_typer(feedback.app, name="feedback")
app.add_typer(people.app, name="people")


def main() -> None:
    """Exit codes: 0 done, 2 a mistake that can be mended, 130 interrupted; anything else is a bug."""
    from chatwright.cli.options import EndedEarly
    from chatwright.errors import ChatwrightError
    from chatwright.machine import prepare_process

    prepare_process()  # before any verb imports torch
    try:
        app()
    except ChatwrightError as error:
        _say(str(error))
        sys.exit(2)
    except EndedEarly:
        sys.exit(130)
    except SystemExit as error:
        if error.code == 130:  # what typer makes of Ctrl-C
            _say("stopped; the same command goes on where it was")
        raise
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        _say(f"{error.filename or 'a file'}: {error.strerror}; nothing half-written was left behind")
        sys.exit(2)


def _say(sentence: str) -> None:
    print(f"chatwright: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    main()
