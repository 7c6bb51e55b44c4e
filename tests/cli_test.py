import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import tensorflow as tf

import tf_frozen
from tf_frozen import cli, commands

COMMAND = """
HELP = "does something"
EXAMPLE = "tf-frozen something --model_dir DIR"

def add_arguments(parser):
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--gin_param", action="append")

def run(args):
"""


class CliTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())

    def command(self, name, body):
        """Adds a command as anyone would: by a file in the folder of the commands."""
        if self.folder not in commands.__path__:
            commands.__path__.append(self.folder)
            self.addCleanup(commands.__path__.remove, self.folder)
        path = Path(self.folder, f"{name}.py")
        path.write_text(COMMAND + textwrap.indent(textwrap.dedent(body), "    "))
        self.addCleanup(sys.modules.pop, f"tf_frozen.commands.{name}", None)

    def run_cli(self, *argv):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(argv)
        return code, out.getvalue(), err.getvalue()

    def process(self, *argv, env=None, **options):
        """Starts the command line in its own process, where the commands added here exist as well."""
        script = f"import sys; from tf_frozen import cli, commands; commands.__path__.append({self.folder!r})"
        script += "; sys.exit(cli.main())"
        changed = ("TF_CPP_MIN_LOG_LEVEL", "PYTHONUNBUFFERED")
        environment = {name: value for name, value in os.environ.items() if name not in changed} | (env or {})
        process = subprocess.Popen(
            [sys.executable, "-c", script, *argv],
            text=True,
            env=environment,
            **{
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                # A shell's background job ignores Ctrl-C, and so would all that it starts.
                "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                **options,
            },
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process


class HelpTest(CliTest):
    def test_lists_the_commands_that_exist_in_their_order(self):
        self.command("zoom_in", "pass")
        code, out, err = self.run_cli("--help")
        self.assertEqual((code, err), (0, ""))
        listed = [line.split()[0] for line in out.partition("commands:\n")[2].splitlines() if line.startswith("  ")]
        modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
        existing = [name for name in cli.ORDER if name.replace("-", "_") in modules]
        self.assertEqual(listed, [*existing, "zoom-in"])
        self.assertIn("zoom-in     does something", out)

    def test_every_command_shows_an_example_of_itself(self):
        for name in cli.find_commands():
            with self.subTest(name):
                code, out, _ = self.run_cli(name, "--help")
                self.assertEqual(code, 0)
                self.assertIn(f"example:\n  tf-frozen {name}", out)

    def test_nothing_given(self):
        code, out, _ = self.run_cli()
        self.assertEqual(code, 2)
        self.assertIn("commands:", out)

    def test_version(self):
        self.assertEqual(self.run_cli("--version"), (0, f"tf-frozen {tf_frozen.__version__}\n", ""))

    def test_help_does_not_import_tensorflow(self):
        script = "import sys; from tf_frozen import cli; cli.main(['--help']); cli.main(['score', '--help'])"
        script += "; print({'tensorflow', 'tf_keras', 'numpy', 'PIL', 'pycocotools'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEndsWith(done.stdout, "set()\n")


class WrongUseTest(CliTest):
    def setUp(self):
        super().setUp()
        self.command("zoom_in", "pass")

    def wrong(self, *argv):
        code, out, err = self.run_cli(*argv)
        self.assertEqual((code, out), (2, ""))
        self.assertNotIn("Traceback", err)
        return err

    def test_an_unknown_command(self):
        self.assertEqual(self.wrong("zoom-inn"), "There is no command 'zoom-inn'. Did you mean 'zoom-in'?\n")
        self.assertEqual(self.wrong("zoom_in"), "There is no command 'zoom_in'. Did you mean 'zoom-in'?\n")
        self.assertIn("configs", self.wrong("qqqq"))

    def test_an_unknown_flag_is_named_before_what_it_made_missing(self):
        for flag in ("--model_dri", "--model-dir", "--model", "--MODEL_DIR", "--model_dirs=x"):
            with self.subTest(flag):
                error = self.wrong("zoom-in", flag, "here")
                self.assertIn(f"zoom-in: there is no flag {flag.partition('=')[0]}.", error)
                self.assertIn("Did you mean '--model_dir'", error)
                self.assertIn("`tf-frozen zoom-in --help`", error)
        self.assertIn("'--version'", self.wrong("--versio"))

    def test_a_missing_flag(self):
        self.assertIn("--model_dir", self.wrong("zoom-in"))

    def test_a_parameter_that_the_shell_took_apart(self):
        error = self.wrong("zoom-in", "--model_dir", "here", "--gin_param", "TRAIN_STEPS", "=", "3")
        self.assertIn("= 3\n", error)
        self.assertIn("--gin_param 'NAME = VALUE'", error)

    def test_an_empty_folder(self):
        self.assertIn("--model_dir is empty", self.wrong("zoom-in", "--model_dir", ""))

    def test_an_argument_that_is_not_text(self):
        error = self.wrong("zoom-in", "--model_dir", os.fsdecode(b"caf\xe9"))
        self.assertIn(r"The argument 'caf\udce9' has bytes that are not utf-8 text", error)


class EndTest(CliTest):
    def test_what_a_command_returns(self):
        self.command("nothing", "pass")
        self.command("one", "return 1")
        self.assertEqual(self.run_cli("nothing", "--model_dir", "here"), (0, "", ""))
        self.assertEqual(self.run_cli("one", "--model_dir", "here"), (1, "", ""))

    def test_a_user_error_is_a_message_even_from_inside_gin(self):
        self.command(
            "failing",
            """
            import gin
            from tf_frozen.errors import DataError

            def load():
                raise DataError("photo.jpg is cut off.")

            gin.external_configurable(load, name="cli_test_load")()
            """,
        )
        self.assertEqual(self.run_cli("failing", "--model_dir", "here"), (2, "", "photo.jpg is cut off.\n"))

    def test_any_other_error_keeps_its_traceback(self):
        self.command("broken", "return 1 / 0")
        with self.assertRaises(ZeroDivisionError):
            self.run_cli("broken", "--model_dir", "here")

    def test_logs_go_bare_to_standard_output_and_warnings_to_standard_error(self):
        body = """
            import logging
            log = logging.getLogger("tf_frozen.deep.inside")
            log.debug("debug"); log.info("step %d", 3); log.warning("odd")
            logging.getLogger("another").warning("of another library")
            """
        self.command("talking", body)
        logger = logging.getLogger("tf_frozen")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)
        before = logger.level, logger.propagate, list(logger.handlers)
        for _ in range(2):
            self.assertEqual(self.run_cli("talking", "--model_dir", "here"), (0, "step 3\n", "odd\n"))
        self.assertEqual((logger.level, logger.propagate, list(logger.handlers)), before)

    def test_names_of_arguments_become_flags(self):
        body = """
            import logging
            from tf_frozen.errors import ConfigError
            logging.getLogger('tf_frozen').warning('unused: A = 1 (`gin_params` 2)')
            raise ConfigError("`model_dir` x: give `gin_params` 'A = 2', or leave `bbox` out")
            """
        self.command("failing", body)
        _, _, errors = self.run_cli("failing", "--model_dir", "here")
        unused, error = errors.splitlines()
        self.assertEqual(unused, "unused: A = 1 (--gin_param 2)")
        self.assertEqual(error, "--model_dir x: give --gin_param 'A = 2', or leave `bbox` out")

    def test_an_interrupt_ends_with_130(self):
        self.command("waiting", "import logging, time; logging.getLogger('tf_frozen').info('ready'); time.sleep(60)")
        process = self.process("waiting", "--model_dir", "here")
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        self.assertEqual((process.returncode, err), (130, ""))

    def test_a_path_may_start_in_the_users_home(self):
        self.command("showing", "print(args.model_dir, args.gin_param)")
        _, out, _ = self.run_cli("showing", "--model_dir=~/runs/a", "--gin_param", "A = '~'")
        self.assertEqual(out, f"""{Path.home()}/runs/a ["A = '~'"]\n""")

    def test_a_termination_ends_with_its_code_and_puts_things_in_order(self):
        body = """
            import logging, time
            try:
                logging.getLogger('tf_frozen').info('ready')
                time.sleep(60)
            finally:
                print('put in order')
            """
        self.command("waiting", body)
        for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            process = self.process("waiting", "--model_dir", "here")
            self.assertEqual(process.stdout.readline(), "ready\n")
            process.send_signal(number)
            out, err = process.communicate(timeout=120)
            self.assertEqual((process.returncode, out, err), (code, "put in order\n", f"Ended by {number.name}.\n"))

    def test_a_hangup_that_was_to_be_ignored_is(self):
        self.command("asking", "print('ready', flush=True)\ninput()")
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does, for the process to inherit
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        process = self.process("asking", "--model_dir", "here", stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGHUP)
        process.communicate("\n", timeout=120)
        self.assertEqual(process.returncode, 0)

    def test_a_reader_that_leaves_early_is_no_error(self):
        self.command("endless", "while True: print('y' * 100)")
        process = self.process("endless", "--model_dir", "here")
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(timeout=120), 141)
        self.assertEqual(process.stderr.read(), "")

    def test_messages_that_cannot_be_written_do_not_end_a_command(self):
        body = """
            import logging
            for _ in range(3000):
                logging.getLogger('tf_frozen').info('y' * 100)
            logging.getLogger('tf_frozen').warning('went on')
            """
        self.command("talking", body)
        process = self.process("talking", "--model_dir", "here")
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(timeout=120), 0)
        said = "Messages can't be written ({}); continuing without them.\nwent on\n"
        self.assertEqual(process.stderr.read(), said.format("Broken pipe"))
        with open("/dev/full", "w") as full:
            process = self.process("talking", "--model_dir", "here", stdout=full)
            self.assertEqual(process.wait(timeout=120), 0)
            self.assertEqual(process.stderr.read(), said.format("No space left on device"))
            process = self.process("talking", "--model_dir", "here", stdout=full, stderr=full)
            self.assertEqual(process.wait(timeout=120), 0)

    def test_a_closed_stream_takes_what_is_written_to_it_and_no_file_gets_its_number(self):
        path = Path(self.folder, "file")
        body = f"""
            import logging, sys
            from tf_frozen.progress import Counter
            with open({str(path)!r}, "w") as file:
                for _ in Counter(2, "steps", "step").over(range(2)):
                    logging.getLogger('tf_frozen').info('said')
                    print('y')
                logging.getLogger('tf_frozen').warning('warned')
                sys.stdout.flush()
                sys.exit(min(file.fileno(), 3) - 3)
            """
        self.command("filing", body)
        for closed in ((1,), (1, 2), (0, 1, 2)):
            process = self.process("filing", "--model_dir", "here", preexec_fn=lambda c=closed: [*map(os.close, c)])
            _, said = process.communicate(timeout=120)
            self.assertEqual((process.returncode, said), (0, "" if 2 in closed else "warned\n"))
            self.assertEqual(path.read_text(), "")

    def test_a_reader_that_left_before_the_last_words_is_no_error(self):
        self.command("late", "input()\nprint('done')")
        process = self.process("late", "--model_dir", "here", stdin=subprocess.PIPE)
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        self.assertEqual(process.wait(timeout=120), 141)
        self.assertEqual(process.stderr.read(), "")

    def test_a_full_output_is_a_clear_error(self):
        self.command("printing", "print('done')")
        for unbuffered in ("", "1"):
            with open("/dev/full", "w") as full:
                env = {"PYTHONUNBUFFERED": unbuffered}
                process = self.process("printing", "--model_dir", "here", stdout=full, env=env)
                said = "Cannot write: No space left on device. Free space, or send the output elsewhere.\n"
                self.assertEqual((process.wait(timeout=120), process.stderr.read()), (2, said))

    def test_characters_that_the_output_has_no_code_for_are_escaped(self):
        self.command("signs", "import logging; print('×'); logging.getLogger('tf_frozen').warning('10²')")
        process = self.process("signs", "--model_dir", "here", env={"PYTHONIOENCODING": "ascii"})
        self.assertEqual(process.communicate(timeout=120), ("\\xd7\n", "10\\xb2\n"))
        self.assertEqual(process.returncode, 0)

    def test_tensorflow_starts_silently(self):
        body = """
            from tf_frozen.keras_flavor import keras
            model = keras.Sequential([keras.layers.Dense(1, input_shape=[1])])
            model.compile("sgd", "mse")
            print(model.predict([[0.0]], verbose=0))
            """
        self.command("starting", body)
        for env in ({}, {"TF_CPP_MIN_LOG_LEVEL": "3"}):  # Python's warnings are another matter than that level.
            process = self.process("starting", "--model_dir", "here", env=env)
            out, err = process.communicate(timeout=300)
            self.assertEqual((process.returncode, out, err), (0, "[[0.]]\n", ""))


if __name__ == "__main__":
    tf.test.main()
