"""Health probes: is the task there, and is it working? They answer yes or no with a reason, and decide nothing.

Counting failures and acting on them is up to the rules; when to probe is up to the supervisor. A probe never
raises because the answer is no, and never leaves a process or a socket behind.
"""

from paneview.health.listening import Listening
from paneview.health.logmatch import LogMatcher
from paneview.health.result import ProbeResult
from paneview.health.run import run_probe
from paneview.health.specs import HttpProbe, ProbeSpec, ShellProbe, TcpProbe

__all__ = [
    "HttpProbe",
    "Listening",
    "LogMatcher",
    "ProbeResult",
    "ProbeSpec",
    "ShellProbe",
    "TcpProbe",
    "run_probe",
]
