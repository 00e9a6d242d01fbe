"""The terminal driver: a terminal that stalls or goes away, or a signal, ends the screen cleanly or not at all.

It closes four gaps of Textual's. Textual's writer blocks the event loop once a terminal has stopped reading; here
frames are dropped instead, and the whole screen is drawn when the terminal reads again. Its input thread wakes up ten
times a second; here it does so only for a moment after a key, when an escape may turn out to be a key of its own.
Signals end it with the terminal in a state in which nobody can type; here TERM, HUP and INT exit cleanly, and by force
if that takes too long. A terminal that is gone makes its input thread fail or spin; here that is recognised and ends
the program.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import sys
import termios
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from queue import Full
from typing import TYPE_CHECKING, Any, ClassVar

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App

MOST_PENDING = 12  # writes: a terminal that is this far behind gets only the newest screen, later
TICK = 0.1  # s between checks whether an escape was a key of its own
TICKS = 10  # checks after the last input
READ_SIZE = 4096
CHECK = 0.1  # s between checks of a terminal that does not read
PATIENCE = 2.0  # s for a clean exit before it is cut short
LEAVING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
TYPED = (signal.SIGINT, signal.SIGQUIT)  # sent by keys to all processes in the terminal's foreground
# Seconds after the terminal is back in which a typed signal was for the other program: the loop sees signals late.
STILL_THEIRS = 0.2
# Mouse, paste, focus and key reports back to normal; the cursor visible; the shell's screen.
LAST_WORDS = (
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[<u\x1b[?25h\x1b[?1049l\r\n"
)


class Terminal(LinuxDriver):
    """Textual's driver for Unix terminals that never blocks the event loop."""

    stuck = False
    """The terminal did not take the last output: exit without flushing."""
    lent = False
    """Another program has the terminal."""
    taken: ClassVar[Terminal | None] = None
    """The driver that has taken the terminal and not restored it yet, if any."""

    def __init__(self, app: App[Any], **settings: Any) -> None:
        super().__init__(app, **settings)
        self._behind = False
        self._stuck_writer: threading.Thread | None = None
        self._vital = False  # True while what is written must not be dropped
        self._wakes, self._wake = os.pipe()  # wakes the input thread, which may sleep for ever

    def write(self, data: str) -> None:
        """Pass data to the writer's thread; drop it if the terminal is too far behind, or lent."""
        writer = self._writer_thread
        if writer is None:
            return
        queue = writer._queue
        if self._vital:
            try:
                queue.put(data, timeout=PATIENCE / 4)
            except Full:
                self.stuck = True
        elif self._behind or queue.qsize() >= MOST_PENDING:
            self._fall_behind()
        else:
            queue.put(data)

    def start_application_mode(self) -> None:
        """Take the terminal. None of its sequences may be dropped, or the screen is drawn over the shell's."""
        self._behind = False
        Terminal.taken = self
        with self._not_dropped():
            super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Restore the terminal. Its sequences are not dropped, but the wait for them is limited."""
        with self._not_dropped():
            super().stop_application_mode()
        Terminal.taken = None

    def let_go(self) -> None:
        """Restore the terminal as far as that takes no waiting, bypassing the writer's thread."""
        if self._file is None:
            return
        with suppress(termios.error, OSError, ValueError):
            if self.attrs_before is not None:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            output = self._file.fileno()
            if select.select([], [output], [], 0)[1]:
                os.write(output, LAST_WORDS)

    def close(self) -> None:
        """End the writer's thread, unless it hangs writing to a terminal that does not read."""
        writer, self._writer_thread = self._writer_thread, None
        if writer is None:
            return
        with suppress(Full):
            writer._queue.put(None, timeout=PATIENCE / 4)
        writer.join(PATIENCE / 2)
        self.stuck = self.stuck or writer.is_alive()
        self._stuck_writer = writer

    def drop_the_rest(self) -> None:
        """Restore a terminal that is stuck, without what it has not read: it may only be slow. Only to exit then."""
        if self._file is None:
            return
        writer = self._stuck_writer
        with suppress(termios.error, OSError, ValueError):
            output = self._file.fileno()
            terminal = os.dup(output)
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)
            if writer is not None and writer.ident is not None and writer.is_alive():
                # Interrupts the write that is under way; the writer's next one goes into nothing.
                signal.signal(signal.SIGWINCH, lambda *_: None)
                signal.pthread_kill(writer.ident, signal.SIGWINCH)
                writer.join(CHECK)
            termios.tcflush(terminal, termios.TCOFLUSH)
            if select.select([], [terminal], [], CHECK)[1]:
                os.write(terminal, LAST_WORDS)

    @contextmanager
    def _not_dropped(self) -> Iterator[None]:
        self._vital = True
        try:
            yield
        finally:
            self._vital = False

    def disable_input(self) -> None:
        """End the input thread."""
        if self._key_thread is not None and self._key_thread.is_alive():
            os.write(self._wake, b"!")
        super().disable_input()

    def run_input_thread(self) -> None:
        """Pass on what is typed until `disable_input`. Raises OSError when the terminal is gone."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        ticks = 0
        while not self.exit_event.is_set():
            ready, _, _ = select.select([self.fileno, self._wakes], [], [], TICK if ticks else None)
            ticks = TICKS if ready else ticks - 1
            if self._wakes in ready:
                os.read(self._wakes, READ_SIZE)
                self.exit_event.wait(PATIENCE)  # it is set just after the wake
            if self.fileno in ready:
                data = os.read(self.fileno, READ_SIZE)
                if not data:  # a terminal that was hung up reads as empty for ever
                    raise OSError(errno.EIO, "the terminal is gone")
                for event in parser.feed(decode(data)):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)

    def _fall_behind(self) -> None:
        if not self._behind:
            self._behind = True
            self._loop.call_later(CHECK, self._catch_up)

    def _catch_up(self) -> None:
        writer = self._writer_thread
        if writer is not None and not writer._queue.empty():
            self._loop.call_later(CHECK, self._catch_up)
            return
        self._behind = False
        self._app.refresh(layout=True)

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except OSError:
            # The terminal is gone; nobody would see a traceback.
            self.stuck = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._app.exit, 128 + signal.SIGHUP)


def on_leaving_signals(leave: Callable[[int], None]) -> None:
    """Call ``leave`` with the exit status when a signal asks the program to end; end it anyway if that hangs.

    That also covers a loop that hangs and never calls ``leave``: the signal's handler interrupts whatever it does.
    """
    watchdog = _watchdog()

    def arm(number: int, _frame: object) -> None:
        os.write(watchdog, bytes([number]))  # nothing else: this may interrupt anything

    loop = asyncio.get_running_loop()
    for number in LEAVING:
        loop.add_signal_handler(number, leave, 128 + number)
        signal.signal(number, arm)  # replaces a handler that does nothing: the loop is woken by a descriptor
        signal.siginterrupt(number, False)


async def run(app: App[Any], argv: Sequence[str], *, told: bool = False) -> tuple[int, bytes]:
    """Run a program in the terminal. Returns its exit status and, if ``told``, what it wrote to standard error.

    One at a time (`lending_the_terminal`). Raises OSError, and SuspendNotSupported if there is no terminal.
    """
    with _lent(app):
        process = await asyncio.create_subprocess_exec(
            *argv, stderr=asyncio.subprocess.PIPE if told else None
        )
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:  # cancelled with the screen that started it
                process.terminate()
    return process.returncode or 0, said or b""


@contextmanager
def _lent(app: App[Any]) -> Iterator[None]:
    """Lend the terminal; meanwhile Ctrl-C and Ctrl-\\ are for the program that has it, like all that is typed."""
    loop, driver = asyncio.get_running_loop(), app._driver
    if not isinstance(driver, Terminal):
        with app.suspend():
            yield
        return
    failure: BaseException | None = None
    driver.lent = True
    for number in TYPED:
        loop.add_signal_handler(number, lambda: None)  # SIG_IGN would be inherited by that program
    try:
        with app.suspend():
            try:
                yield
            except BaseException as error:
                if app._exit:
                    raise
                failure = error  # raised below: if raised here, Textual would not take the terminal back
    finally:
        driver.lent = False
        loop.call_later(STILL_THEIRS, _heed_keys_again, app, driver)
    if failure is not None:
        raise failure


def _heed_keys_again(app: App[Any], driver: Terminal) -> None:
    if not driver.lent:  # else it was lent again
        asyncio.get_running_loop().remove_signal_handler(signal.SIGQUIT)  # SIGINT's is replaced
        on_leaving_signals(app.exit)


def on_hang_up(leave: Callable[[int], None]) -> None:
    """Call ``leave`` when the terminal is closed, even if SIGHUP does not arrive (Linux only)."""
    if not hasattr(select, "epoll"):
        return
    watch = select.epoll()
    try:
        watch.register(sys.__stdin__.fileno(), 0)  # type: ignore[union-attr]  # hang-up is always reported
    except (OSError, ValueError):  # no terminal there, as in tests
        watch.close()
        return
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(watch)
        watch.close()
        leave(128 + signal.SIGHUP)

    loop.add_reader(watch, gone)


def can_stop() -> bool:
    """Whether a shell is waiting that could resume this program after Ctrl-Z."""
    try:
        return os.getsid(os.getppid()) == os.getsid(0) and os.getpgid(os.getppid()) != os.getpgid(0)
    except ProcessLookupError:
        return False


def saved_mode() -> Callable[[], None]:
    """Save the terminal's mode; the returned function restores it."""
    try:
        descriptor = sys.__stdin__.fileno()  # type: ignore[union-attr]
        mode = termios.tcgetattr(descriptor)
    except (termios.error, OSError, ValueError, AttributeError):
        return lambda: None

    def restore() -> None:
        with suppress(termios.error, OSError):
            termios.tcsetattr(descriptor, termios.TCSANOW, mode)

    return restore


@cache
def _watchdog() -> int:
    """A descriptor to write a signal's number to; `PATIENCE` + 1 s later the program ends, whatever happens.

    The thread that waits for it is started in advance: a program that hangs might not be able to start one.
    """
    told, tell = os.pipe()

    def watch() -> None:
        number = os.read(told, 1)[0]
        time.sleep(PATIENCE + 1)
        if Terminal.taken is not None:
            Terminal.taken.let_go()
        os._exit(128 + number)

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
    return tell
