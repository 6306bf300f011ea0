"""The parent of a supervisor's slots: imports once what steps import, then forks a slot in a millisecond.

It is single-threaded, so forking is safe, and runs no user code, so nothing can hold it up: when its
supervisor is gone it ends every slot with all that slot started, and itself. (While it imports, with no slot to
look after yet, the kernel ends it.) A slot does not die with its host, for what the slot started would live on; its
supervisor ends it then.

What the project's own steps import is there before the first slot; what the shipped stages import comes after,
one module at a time whenever nothing else is to do, so that the first steps need not wait for it.

Messages: `configure` first; then `start_slot` (the slot's end of its channel comes over the second socket) and
`end_slot`. Answers: `slot_started`, `slot_ended`.
"""

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterator

from podium.execution import slot
from podium.execution.channel import Channel, ChannelClosed, Message
from podium.execution.processes import (
    adopt_orphans,
    children,
    die_with_parent,
    end_descendants,
    end_tree,
    outlive_parent,
    reap,
)


class SlotHost:
    """Forks slots, ends them, and reports their ends."""

    def __init__(self, control: Channel, descriptors: socket.socket) -> None:
        self._control = control
        self._descriptors = descriptors
        self._slots: dict[int, int] = {}  # process id → slot number
        self._configuration: Message = {}
        self._ahead: deque[str] = deque()  # still to be imported
        self._wakeup, wakeup_writer = socket.socketpair()
        for end in (self._wakeup, wakeup_writer):
            end.settimeout(0.0)
        self._wakeup_writer = wakeup_writer
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_writer.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        """Obey the supervisor until it is gone, then leave nothing behind."""
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ)
        selector.register(self._wakeup, selectors.EVENT_READ)
        try:
            while True:
                happened = selector.select(0 if self._ahead else None)
                if not happened:
                    self._import_next()
                for key, _ in happened:
                    if key.fileobj is self._wakeup:
                        with contextlib.suppress(BlockingIOError):
                            self._wakeup.recv(4096)
                        self._report_ended()
                    else:
                        for message in self._control.arrived():
                            self._obey(message)
        except ChannelClosed:
            return
        finally:
            reap(end_descendants(os.getpid()))

    def _obey(self, message: Message) -> None:
        if message["type"] == "configure":
            self._configuration = message
            self._ahead.extend(message["preload"])
            self._import_all()
            outlive_parent()
            self._ahead.extend(message["preload_later"])
        elif message["type"] == "start_slot":
            if message["complete"]:
                self._import_all()
            self._start(message["slot"])
        elif message["type"] == "end_slot":
            for process_id, number in list(self._slots.items()):
                if number == message["slot"]:
                    end_tree(process_id)
        else:
            raise ValueError(f"unknown message {message['type']!r}")

    def _import_all(self) -> None:
        while self._ahead:
            self._import_next()

    def _import_next(self) -> None:
        name, _, function = self._ahead.popleft().partition(":")
        # A module that cannot be imported is the step's to report, where a person sees it.
        with contextlib.suppress(Exception, SystemExit):
            loaded = importlib.import_module(name)
            if function:
                getattr(loaded, function)()
        if not self._ahead:
            gc.enable()
            gc.freeze()  # what is shared stays shared: the collector writes into every object it looks at

    def _start(self, number: int) -> None:
        _, received, _, _ = socket.recv_fds(self._descriptors, 1, 1)
        if not received:
            raise ChannelClosed
        (descriptor,) = received
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the slot's own, and no program's that a step starts
        process_id = os.fork()
        if process_id == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._control.socket, self._descriptors, self._wakeup, self._wakeup_writer):
                end.close()
            slot.main(socket.socket(fileno=descriptor), self._configuration)
            os._exit(0)
        os.close(descriptor)
        self._slots[process_id] = number
        started = {"type": "slot_started", "slot": number, "process_id": process_id, "complete": not self._ahead}
        self._control.send(started)

    def _report_ended(self) -> None:
        """Reap what has ended, end what a slot left behind, then report the slots."""
        ended = []
        for process_id, status in _reaped():
            if process_id in self._slots:
                ended.append((self._slots.pop(process_id), status))
        for child in children(os.getpid()):
            if child not in self._slots:  # an orphan of a slot that is gone; its end brings us here again
                end_tree(child)
        for number, status in ended:
            self._control.send({"type": "slot_ended", "slot": number, "status": os.waitstatus_to_exitcode(status)})


def _reaped() -> Iterator[tuple[int, int]]:
    """Yield the children that have ended, with their wait status."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            yield ended


def main() -> None:
    """Serve the supervisor at the descriptors given on the command line."""
    gc.disable()  # until what is imported is frozen
    adopt_orphans()
    die_with_parent()
    control, descriptors = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    SlotHost(Channel(control), descriptors).serve()


if __name__ == "__main__":
    main()
