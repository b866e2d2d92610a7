"""Train, compare and tune multimodal recommenders: `python main.py -m TMFUN -d sports`; --help says more."""

import signal
import sys
from pathlib import Path

if __name__ == "__mp_main__":  # a worker that starts: Ctrl-C is for the program that started it
    signal.signal(signal.SIGINT, signal.SIG_IGN)

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from utils.cli import main  # noqa: E402  (src/ has to be on the path first)

if __name__ == "__main__":
    sys.exit(main())
