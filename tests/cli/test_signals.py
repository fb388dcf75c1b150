"""An interrupt that Python drops, as it does in finalizers, ends a command all the same."""

import gc
import os
import signal
import time

import pytest

from tnjax.cli import _main
from tnjax.cli._interrupt import heard, raised_again


class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # the handler runs here, and what it raises is dropped


def in_finalizer():
    Finalized()


def while_collecting():
    def collected(phase, _):
        gc.callbacks.remove(collected)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    gc.callbacks.append(collected)
    gc.collect()


@pytest.fixture(autouse=True)
def default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("drop", [in_finalizer, while_collecting])
def test_a_dropped_interrupt_comes_again(drop, capsys):
    def work():
        with heard(told.append):
            drop()
            passed.append(True)
            end = time.monotonic() + 30
            while time.monotonic() < end:
                pass

    told, passed = [], []
    with raised_again(), pytest.raises(KeyboardInterrupt):
        work()
    assert passed  # the first one was dropped
    assert told[0] == signal.SIGINT
    assert not capsys.readouterr().err


def test_other_errors_that_are_dropped_are_printed_as_before(monkeypatch):
    class Faulty:
        def __del__(self):
            raise ZeroDivisionError

    seen = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: seen.append(what.exc_type))
    with raised_again():
        Faulty()
    assert seen == [ZeroDivisionError]


def test_a_command_ends_with_the_status_of_an_interrupt(capsys):
    class Command:
        def run(self):
            in_finalizer()
            time.sleep(30)

    assert _main._run(Command()) == 130
    assert capsys.readouterr().err == "tnjax: interrupted.\n"


def test_what_comes_too_late_is_forgotten():
    with raised_again():
        in_finalizer()
    time.sleep(0.2)
