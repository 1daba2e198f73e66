"""A suite in the background (`nohup make test &`) ignores SIGINT and SIGHUP, and whatever it starts would inherit that.

A handler of one's own isn't inherited over an exec: what tests start has the usual signals, and the suite still outlives its
terminal.
"""

from __future__ import annotations

import signal
import threading

if threading.current_thread() is threading.main_thread():
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
