"""Read Python: what in a script, a notebook or a folder speaks of CUDA. The text is parsed, never run."""

from forebay.porting.scan.folder import Limits
from forebay.porting.scan.look import scan
from forebay.porting.scan.text import read
from forebay.porting.scan.whole import scan_script, scan_tree

__all__ = ["Limits", "read", "scan", "scan_script", "scan_tree"]
